"""The demo session: everything on loopback, with made-up providers."""

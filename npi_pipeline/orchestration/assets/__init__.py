"""The daily assets. Each is short: it calls the core and returns metadata."""

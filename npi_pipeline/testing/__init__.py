"""The emulated registry, the local S3 and made-up providers: for our tests, the demo, and downstream projects."""

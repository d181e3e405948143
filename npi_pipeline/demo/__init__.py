"""Everything that the demo and the tests start on loopback: the emulated registry, the local S3, made-up providers."""

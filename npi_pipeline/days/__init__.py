"""What the products of a day share: their paths, the lock on each, and the digest of what they were made from."""

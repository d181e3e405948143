"""Bytes below the data root: a local folder or ``s3://``, replaced whole, and locks. Knows not what they mean."""

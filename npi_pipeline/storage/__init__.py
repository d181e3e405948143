"""Where a day's files lie (a local folder or ``s3://``), and how they are published. Knows nothing of Dagster."""

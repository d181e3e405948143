"""From records to rows: flattening, columns, states, CSV. Knows nothing of Dagster, HTTP or S3."""

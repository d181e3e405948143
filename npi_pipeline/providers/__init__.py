"""The provider table: from records to one typed row per found NPI. Knows nothing of HTTP or Dagster."""

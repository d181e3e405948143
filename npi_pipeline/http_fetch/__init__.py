"""Asking an HTTP registry about a list of NPIs, at the pace that it bears. Knows nothing of Dagster or of files."""

"""Asking a registry about a list of NPIs and keeping every outcome. Knows nothing of Dagster."""

"""A project downstream of npi_pipeline: see README.md beside this folder."""

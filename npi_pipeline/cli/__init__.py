"""The command line ``npi-pipeline``."""

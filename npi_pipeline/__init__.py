"""A daily, provable NPI enrichment pipeline on Dagster.

Nothing is imported here: importing the package costs nothing and reads nothing.
"""

__version__ = "0.1.0"

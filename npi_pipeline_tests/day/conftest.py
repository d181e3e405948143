"""Fixtures of this part: both kinds of data root."""

from npi_pipeline_tests.both_roots import data_root, root

__all__ = ["data_root", "root"]

"""What can be wrong with a dissemination file.

A row that cannot be read is no error: it is an NPI with a ``problem`` (``store_schema``), and fails by that alone.
"""

from __future__ import annotations

from npi_pipeline.errors import PipelineError


class BulkFileError(PipelineError):
    """A dissemination file, or a set of them, cannot be used. One line names the file, what is wrong and the remedy."""

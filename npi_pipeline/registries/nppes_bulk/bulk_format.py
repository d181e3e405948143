"""The bulk files as a registry format: their records have the columns of the API's, and nobody is asked for them.

Not here: reading the files (the other modules of this folder).
"""

from __future__ import annotations

import dataclasses

from npi_pipeline.registries.nppes_api import NPPES

NPPES_BULK = dataclasses.replace(
    NPPES,
    name="nppes_bulk",
    description="The NPI Registry's dissemination files, monthly and weekly, read from a folder or S3: no HTTP.",
    default_url="",
)

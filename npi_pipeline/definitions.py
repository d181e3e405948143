"""What Dagster loads (see workspace.yaml and [tool.dg] in pyproject.toml): the pipeline as the environment sets it.

It is a function, so that importing this module reads nothing of the environment.
Not here: how the parts are put together (``orchestration.build``).
"""

from __future__ import annotations

import dagster as dg

from npi_pipeline.orchestration.build import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The whole pipeline with the settings of the environment. Raises SettingsError."""
    return build_definitions()

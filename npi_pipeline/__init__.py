"""A daily, provable NPI enrichment pipeline on Dagster. What stands in ``__all__`` is its public API: see docs/api.md.

Each name is imported when it is first used: importing the package costs nothing and reads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npi_pipeline.http_fetch.fetch import fetch
    from npi_pipeline.http_fetch.lookup import lookup
    from npi_pipeline.orchestration.build import build_definitions
    from npi_pipeline.orchestration.table_io import TableIOManager
    from npi_pipeline.scans import scan_changes, scan_outcomes, scan_providers
    from npi_pipeline.settings import Settings
    from npi_pipeline.state_files.publish import read_manifest
    from npi_pipeline.storage.open_root import open_data_root

__version__ = "0.1.0"

__all__ = [
    "Settings",
    "TableIOManager",
    "build_definitions",
    "fetch",
    "lookup",
    "open_data_root",
    "read_manifest",
    "scan_changes",
    "scan_outcomes",
    "scan_providers",
]

_MODULES = {
    "Settings": "settings",
    "TableIOManager": "orchestration.table_io",
    "build_definitions": "orchestration.build",
    "fetch": "http_fetch.fetch",
    "lookup": "http_fetch.lookup",
    "open_data_root": "storage.open_root",
    "read_manifest": "state_files.publish",
    "scan_changes": "scans",
    "scan_outcomes": "scans",
    "scan_providers": "scans",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

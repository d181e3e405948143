"""The demo session: everything on loopback, with made-up providers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from npi_pipeline.errors import PipelineError, to_install

# What its servers are made of, by the names they are imported by.
_EXTRA = ("moto", "flask", "flask_cors", "orjson", "duckdb", "duckdb_engine")


class DemoNotInstalledError(PipelineError):
    """The packages that only the demo needs are not all installed."""


def ensure_installed(what: str = "the demo", packages: Sequence[str] = _EXTRA) -> None:
    """Raise DemoNotInstalledError when a package of the extra ``demo`` is missing; none of them is imported."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoNotInstalledError(
            f"{what} needs packages that are not installed ({', '.join(missing)}): {to_install('demo')}"
        )

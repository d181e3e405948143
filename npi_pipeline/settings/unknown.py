"""Variables that look like settings and are none."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from npi_pipeline.settings.models import ENVIRONMENT_PREFIX, all_settings, environment_variable

# How like a setting's name another one must be to be taken for a slip of the pen.
_LIKENESS = 0.7


def unknown_variables(environment: Mapping[str, str]) -> str | None:
    """One line about the variables that look like settings and are none, with those that may be meant; None if none do.

    They are ignored and not refused: other programs have ``NPI_`` variables too.
    """
    known = [environment_variable(name) for _, name, _ in all_settings()]
    unknown = sorted(set(filter(_looks_like_a_setting, environment)) - set(known))
    if not unknown:
        return None
    said = (f"{name}{_meant(name, known)}" for name in unknown)
    return f"ignored, for no setting has that name: {', '.join(said)}; `npi-pipeline settings` shows them all"


def _looks_like_a_setting(variable: str) -> bool:
    return variable.upper().startswith(ENVIRONMENT_PREFIX)


def _meant(variable: str, known: list[str]) -> str:
    """The setting that a variable is likely meant to be, in brackets; empty when none is like it."""
    names = [name.removeprefix(ENVIRONMENT_PREFIX) for name in known]
    close = difflib.get_close_matches(variable[len(ENVIRONMENT_PREFIX) :].upper(), names, n=1, cutoff=_LIKENESS)
    return f" ({ENVIRONMENT_PREFIX}{close[0]} is meant?)" if close else ""

"""The one small interface behind which every registry format stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from npi_pipeline.outcomes import Verdict
from npi_pipeline.schema.columns import TableLayout


@dataclasses.dataclass(frozen=True)
class RegistryFormat:
    """How one registry's URL and JSON look.

    ``judge`` takes the NPI that was asked for and the body of an HTTP 200 answer, and never raises: a body that
    is no JSON, or is about another NPI, is a retryable ``failed`` verdict.
    ``layout`` says how the record inside a ``found`` answer becomes one row of the provider table.
    """

    name: str
    description: str
    default_url: str
    judge: Callable[[str, bytes], Verdict]
    layout: TableLayout

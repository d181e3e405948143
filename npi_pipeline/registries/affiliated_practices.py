"""The gateway whose records say with which practices a provider is affiliated.

All that is known of its answers is a boolean ``active`` and ``affiliatedPractices`` with ``items`` (or null) that
have addresses; the rest is flattened as it comes. Not here: the flattening (``providers.inferred``).
"""

from __future__ import annotations

from typing import Any

from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.registries.bodies import json_object, retryable
from npi_pipeline.registries.registry_format import RegistryFormat
from npi_pipeline.schema.columns import EACH, PracticeAddresses, TableLayout

PRACTICES = "affiliatedPractices"
ACTIVE = "active"
NPI_KEYS = ("npi", "NPI", "number")

_FOUND = Verdict(Outcome.found)


def judge(npi: str, body: bytes) -> Verdict:
    """What the body of an HTTP 200 answer says about ``npi``. Never raises.

    A provider that is not active, or without a practice, is found all the same.
    """
    answer = json_object(body)
    if isinstance(answer, Verdict):
        return answer
    if any(_is_another(npi, answer[key]) for key in NPI_KEYS if key in answer):
        return retryable("the answer is about another NPI")
    if PRACTICES in answer:
        return _FOUND
    if ACTIVE in answer:
        return Verdict(Outcome.failed, f"the record has no {PRACTICES}")
    return retryable("the answer holds no record")


def _is_another(npi: str, value: Any) -> bool:
    """Whether ``value`` is an NPI, and not ``npi``; anything that does not look like an NPI says nothing."""
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    return len(text) == len(npi) and text.isascii() and text.isdigit() and text != npi


AFFILIATED_PRACTICES = RegistryFormat(
    name="affiliated_practices",
    description="A gateway whose records list the practices that a provider is affiliated with; its URL must be set.",
    default_url="",
    judge=judge,
    layout=TableLayout(
        declared=False,
        practice_addresses=(PracticeAddresses((PRACTICES, "items", EACH, "address")),),
    ),
)

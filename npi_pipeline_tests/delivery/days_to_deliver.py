"""Days whose providers join, leave, move, change, fail and are deactivated: what deliveries are tried with.

``World`` says what the registry knows on each day, ``make_day`` makes a complete day of it, and ``versions`` is the
truth about the history, computed plainly from what was known on the days that were delivered.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.testing.providers import answer, npi_numbers, outcome_of
from npi_pipeline_tests.complete_days import Outcomes, complete

FIRST_DAY = dt.date(2026, 10, 1)
FILES = FileSettings()
A_WEEK = 7
NUMBERS_OF_DAYS = [A_WEEK, pytest.param(30, marks=pytest.mark.long)]
"""For ``parametrize("world", ..., indirect=True)``: of the tests that deliver all days."""
MOVES = ("AK", "HI", "GU", "VT")


class World:
    """What is known of each NPI, day by day; ``repaired`` days are known otherwise than they were at first."""

    def __init__(self, npis: int = 60, days: int = 30, seed: int = 0) -> None:
        self.days = [FIRST_DAY + dt.timedelta(days=number) for number in range(days)]
        self.seed = seed
        self.of_day: dict[dt.date, Outcomes] = {}
        rng = random.Random(seed)
        found = [npi for npi in npi_numbers(npis * 2, seed) if outcome_of(npi, seed) is Outcome.found][:npis]
        known: dict[str, str | Outcome] = {npi: answer(npi, seed).decode() for npi in found[: npis * 3 // 4]}
        others = found[npis * 3 // 4 :]
        for day in self.days:
            self.of_day[day] = dict(sorted(known.items()))
            _one_night(known, others, rng, seed)

    def repaired(self, day: dt.date, seed: int) -> Outcomes:
        """``day`` as it is known after a repair: some NPIs are known otherwise, one is gone, one has come."""
        rng = random.Random(seed)
        known = dict(self.of_day[day])
        gone = rng.choice(sorted(known))
        del known[gone]
        for _ in range(5):
            _one_night(known, [gone], rng, self.seed)
        return dict(sorted(known.items()))


def make_day(
    root: DataRoot, day: dt.date, outcomes: Outcomes, files: FileSettings = FILES, *, format_name: str = "nppes"
) -> None:
    """Make ``day`` complete, with its changes, as a run of it does."""
    complete(root, day, outcomes, files, format_name=format_name)
    find_changes(root, day, files)


def versions(of_day: Mapping[dt.date, Outcomes]) -> dict[str, list[tuple[dt.date, dt.date | None, str]]]:
    """By NPI: from which day (inclusive) to which (exclusive, None: still) it was known as what, oldest first.

    ``of_day`` are the days that were delivered. What an NPI is known as is its body, or the outcome.
    """
    history: dict[str, list[tuple[dt.date, dt.date | None, str]]] = {}
    days = sorted(of_day)
    for day, following in zip(days, [*days[1:], None], strict=True):
        for npi, outcome in of_day[day].items():
            of_npi = history.setdefault(npi, [])
            if of_npi and of_npi[-1][1:] == (day, _text(outcome)):
                of_npi[-1] = (of_npi[-1][0], following, _text(outcome))
            else:
                of_npi.append((day, following, _text(outcome)))
    return history


def found(outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    """The records of the found NPIs, as the registry gave them."""
    return {npi: json.loads(body)["results"][0] for npi, body in outcomes.items() if not isinstance(body, Outcome)}


def _text(outcome: str | Outcome) -> str:
    return outcome.value if isinstance(outcome, Outcome) else outcome


def _one_night(known: dict[str, str | Outcome], others: list[str], rng: random.Random, seed: int) -> None:
    """What becomes different from one day to the next."""
    for npi in rng.sample(sorted(known), 3):
        _become_different(known, npi, rng)
    # Whoever was deactivated or could not be had is found again, sooner or later.
    for npi in sorted(npi for npi, outcome in known.items() if isinstance(outcome, Outcome)):
        if rng.random() < 0.4:
            known[npi] = answer(npi, seed).decode()
    if rng.random() < 0.5:
        left = rng.choice(sorted(known))
        del known[left]
        others.append(left)
    if others and rng.random() < 0.6:
        joined = others.pop(rng.randrange(len(others)))
        known[joined] = answer(joined, seed).decode()


def _become_different(known: dict[str, str | Outcome], npi: str, rng: random.Random) -> None:
    body = known[npi]
    if isinstance(body, Outcome):
        return
    what = rng.choice(("moved", "renamed", "taxonomy", "no taxonomy", "deactivated", "failed", "unknown", "formula"))
    if what in {"deactivated", "failed"}:
        known[npi] = Outcome[what]
        return
    content = json.loads(body)
    record = content["results"][0]
    if what == "moved":
        for address in record["addresses"]:
            address["state"] = rng.choice(MOVES)
    elif what == "renamed":
        record["basic"]["last_name"] = f'NAME {rng.randrange(1000)}, JÖRG "Q"\tX'
    elif what == "taxonomy":
        license_ = f"L{rng.randrange(1000)}"
        record["taxonomies"].append({"code": "207Q00000X", "primary": False, "license": license_})
    elif what == "no taxonomy":
        record["taxonomies"] = []
    elif what == "unknown":
        record["basic"][f"new_field_{rng.randrange(3)}"] = rng.randrange(100)
    else:
        record["basic"]["credential"] = rng.choice(("=1+1", "'=1+1", "", "'", "-"))
    known[npi] = json.dumps(content)


def as_delivered(of_day: Mapping[dt.date, Outcomes], days: Iterable[dt.date]) -> dict[dt.date, Outcomes]:
    """Those ``days`` of them."""
    return {day: of_day[day] for day in days}

"""How the registry was asked on a day: from the journal's rows, and from what is kept of each fetch."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from npi_pipeline.journal import JournalError, compacted_parts
from npi_pipeline.npi_records.kept_fetches import KeptFetch, read_fetches
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.npi_records import failure_reasons
from npi_pipeline.report.day_report import Failure, FetchLine, FetchOfDay
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.storage.data_root import DataRoot

_SPANS = 60
_SHOWN = 10
_NEAR = dt.timedelta(seconds=1)


def read_fetch(root: DataRoot, day: dt.date, manifest: Manifest | None, outcomes: Mapping[str, int]) -> FetchOfDay:
    """How the fetch of ``day`` went, which ended in these ``outcomes``.

    Raises JournalError when the journal is damaged, FetchesError, StorageError.
    """
    fetches = read_fetches(root, day)
    retries: Counter[str] = Counter()
    for fetch in fetches:
        retries.update(fetch.report.retries)
    asked = _asked(root, day, fetches)
    started, span, over_time = _over_time(asked)
    attempts = asked["attempts"].value_counts().sort("attempts")
    return FetchOfDay(
        fetches=tuple(_line(fetch) for fetch in fetches),
        retries=tuple(sorted(retries.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]),
        started_at=started,
        span_seconds=span,
        outcomes_over_time=over_time,
        attempts=tuple((number, npis) for number, npis in attempts.iter_rows()),
        failures=_failures(root, day, outcomes),
        files=tuple(f"{file['name']} ({file['kind']} of {file['date']})" for file in _files(manifest)),
    )


def _files(manifest: Manifest | None) -> Sequence[Mapping[str, object]]:
    return manifest.registry_files if manifest else ()


def _line(fetch: KeptFetch) -> FetchLine:
    report = fetch.report
    return FetchLine(
        registry=fetch.registry,
        started_at=fetch.started_at,
        seconds=report.seconds,
        asked=sum(report.outcomes.values()),
        npis_per_second=report.rate,
        requests=report.attempts,
        refused=report.refused,
        highest_limit=report.highest_limit,
        latency_ms={percent: 1000 * seconds for percent, seconds in report.latency.items()},
    )


def _asked(root: DataRoot, day: dt.date, fetches: Sequence[KeptFetch]) -> pl.DataFrame:
    """When the outcomes of the day's own fetches arrived, to the second, and after how many requests.

    An answer that was taken over from another day is dated by that day's fetch. Where nothing is kept of the fetches,
    it cannot be told from the day's own.
    """
    is_own = pl.col("attempts") > 0
    if fetches:
        moments = [(fetch.started_at - _NEAR, fetch.ended_at + _NEAR) for fetch in fetches]
        is_own &= pl.any_horizontal(pl.col("fetched_at").is_between(first, last) for first, last in moments)
    nobody = pl.DataFrame(schema={"fetched_at": pl.Datetime("ms", "UTC"), "attempts": pl.UInt32})
    try:
        parts = [part.filter(is_own) for part in compacted_parts(root, day, nobody.columns)]
    except JournalError as error:
        if error.retryable:
            # It is not compacted: the day is under way.
            return nobody
        raise
    return pl.concat([nobody, *parts])


def _over_time(asked: pl.DataFrame) -> tuple[dt.datetime | None, float, tuple[int, ...]]:
    """When the first outcome arrived, and how many did so in each span of so many seconds from then on."""
    first, last = asked["fetched_at"].min(), asked["fetched_at"].max()
    if not isinstance(first, dt.datetime) or not isinstance(last, dt.datetime):
        return None, 0.0, ()
    span = max((last - first).total_seconds() / _SPANS, 0.1)
    number = ((pl.col("fetched_at") - first).dt.total_milliseconds() / (1000 * span)).floor().cast(pl.Int64)
    counted = asked.group_by(number=number.clip(0, _SPANS - 1)).len()
    by_span: dict[int, int] = dict(counted.iter_rows())
    return first, span, tuple(by_span.get(number, 0) for number in range(max(by_span) + 1))


def _failures(root: DataRoot, day: dt.date, outcomes: Mapping[str, int]) -> tuple[Failure, ...]:
    if not outcomes.get(Outcome.failed.value):
        return ()
    reasons = failure_reasons(root, day).head(_SHOWN)
    return tuple(Failure(**row) for row in reasons.to_dicts())

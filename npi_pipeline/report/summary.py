"""The report in a few lines of Markdown, short enough for a page that shows no more. Not here: the whole (``page``)."""

from __future__ import annotations

from collections.abc import Iterator

from npi_pipeline.report.day_report import DayReport

_SHOWN = 3
_LINE = 120


def summary_of(report: DayReport, characters: int) -> str:
    """The verdict, what is wrong, the counts and what changed, in fewer than so many ``characters``."""
    kept: list[str] = []
    for line in _lines(report):
        if sum(map(len, kept)) + 2 * len(kept) + len(line) >= characters:
            break
        kept.append(line)
    return "\n\n".join(kept)


def _lines(report: DayReport) -> Iterator[str]:
    yield f"**{report.headline}.**"
    for finding in (*report.broken, *report.warnings)[:_SHOWN]:
        yield f"- `{finding.name}`: {_shortened(finding.line)}"
    for problem in report.problems[:_SHOWN]:
        yield f"- {_shortened(problem)}"
    counts = ", ".join(f"{npis:,} {outcome.replace('_', ' ')}" for outcome, npis in report.outcomes.items() if npis)
    yield f"{report.npis:,} NPIs: {counts or 'none'}; {report.rows:,} rows in {report.files} files."
    changes = report.changes
    if changes and changes.compared_with:
        counted = changes.counts
        yield (
            f"Since {changes.compared_with}: {counted['joined']:,} joined, {counted['left']:,} left, "
            f"{counted['deactivated']:,} deactivated, {changes.providers_moved:,} moved between states, "
            f"{counted['providers_changed']:,} with changed fields."
        )
    for fetch in report.fetch.fetches[-1:]:
        yield (
            f"Last fetch: {fetch.asked:,} NPIs at {fetch.npis_per_second:,.0f} per second, {fetch.refused:,} of "
            f"{fetch.requests:,} requests refused."
        )


def _shortened(text: str) -> str:
    # What comes from outside is no Markdown.
    plain = text.replace("<", "&lt;").replace("\n", " ")
    return plain if len(plain) <= _LINE else f"{plain[:_LINE]}..."

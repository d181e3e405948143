"""How the command line shows what is known of single NPIs. Without Dagster, so that it is shown at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from npi_pipeline.explain import Explanation
from npi_pipeline.outcomes import NpiOutcome, Outcome


def show_explanation(explanation: Explanation) -> None:
    """What is known of one NPI on a day; answers themselves are for machines."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(explanation.npi)}[/] on {explanation.day}")
    listed, changes = explanation.listed, explanation.changes
    if listed is None:
        console.print("list      it is not in the list that is kept of the day, or none is")
    else:
        often = "" if listed.occurrences == 1 else f", {listed.occurrences} times"
        invalid = f", invalid: {listed.invalid}" if listed.invalid else ""
        console.print(escape(f"list      line {listed.line:,} of {listed.where}{often}{invalid}"))
    for row in explanation.journal:
        console.print(escape(f"journal   {_journal_row(row)}"))
    if not explanation.journal:
        console.print("journal   nothing")
    for path in explanation.files:
        console.print(escape(f"file      {path}"))
    if not explanation.files:
        console.print("file      none")
    if changes is None:
        console.print("changes   not known")
    else:
        since = f"since {changes.compared_with}" if changes.compared_with else "no complete day before to compare with"
        console.print(f"changes   {since}: {len(changes.rows) or 'none'}")
        for row in changes.rows:
            what = f"{row['field']}: " if row["field"] else ""
            console.print(escape(f"          {row['change']} {what}{row['old'] or ''} -> {row['new'] or ''}"))
    if explanation.provider:
        console.print("provider")
        _show_cells(console, explanation.provider)
    for line in explanation.problems:
        console.print(f"[yellow]warning[/] {escape(line)}")


def show_lookups(outcomes: Iterable[NpiOutcome]) -> None:
    """The outcome of each NPI, and below it the record of one that was found."""
    console = Console(highlight=False, soft_wrap=True)
    for outcome in outcomes:
        verdict = outcome.verdict
        status = f"HTTP {outcome.status}" if outcome.status else None
        told = ", ".join(filter(None, (verdict.outcome.value, verdict.reason, status)))
        console.print(f"[bold]{escape(outcome.npi)}[/] {escape(told)}")
        if verdict.outcome is Outcome.found and outcome.body:
            console.print_json(outcome.body)


def _journal_row(row: Mapping[str, Any]) -> str:
    told = [
        f"{row['place']}: {row['outcome']}",
        f"at {row['fetched_at']:%Y-%m-%d %H:%M:%S} UTC",
        *([row["reason"]] if row["reason"] else []),
        *([f"HTTP {row['status']}"] if row["status"] else []),
        f"{row['attempts']} attempts",
        f"run {row['run']}",
        *([f"answer of {len(row['body']):,} characters (--json)"] if row["body"] else []),
        *([f"registry {row['registry']}"] if row["registry"] else []),
    ]
    return ", ".join(told)


def _show_cells(console: Console, row: Mapping[str, Any]) -> None:
    """The cells of a provider that hold something, one a line."""
    for name, value in row.items():
        cells = (
            {f"{name}[{number}]": item for number, item in enumerate(value)}
            if isinstance(value, list)
            else {name: value}
        )
        for place, cell in cells.items():
            if cell is not None:
                console.print(escape(f"  {place}  {_cell_shown(cell)}"))


def _cell_shown(cell: Any) -> str:
    if not isinstance(cell, dict):
        return str(cell)
    return ", ".join(f"{name} {part}" for name, part in cell.items() if part is not None)

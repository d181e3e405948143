"""How the command line shows days and settings to a person. Not here: the commands (``cli``)."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from npi_pipeline.day.status import DayStatus, Standing
from npi_pipeline.day_run import DayRun
from npi_pipeline.settings import Settings, all_settings, as_text, environment_variable

_COLOURS = {Standing.complete: "green", Standing.partial: "yellow", Standing.missing: "red"}


def show_day_run(run: DayRun) -> None:
    """The result of running one day: figures on standard output, problems and warnings below them."""
    status = run.status
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("day", f"{status.day} {_standing(status)}")
    table.add_row("NPIs", f"{status.npis:,}")
    for outcome, count in status.outcomes.items():
        if count:
            table.add_row(f"  {outcome}", f"{count:,}")
    table.add_row("files", f"{status.files} with {status.rows:,} rows")
    table.add_row("where", status.where)
    table.add_row("seconds", f"{run.seconds:.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for line in run.warnings:
        console.print(f"[yellow]warning[/] {line}", markup=True)
    for line in run.problems:
        console.print(f"[red]failed[/] {line}", markup=True)


def show_days(statuses: Iterable[DayStatus]) -> None:
    """A line for each day."""
    table = Table(box=None, pad_edge=False)
    for name in ("day", "standing"):
        table.add_column(name, no_wrap=True)
    for name in ("NPIs", "found", "failed", "files", "rows"):
        table.add_column(name, justify="right")
    table.add_column("where", overflow="fold")
    for status in statuses:
        numbers = (status.npis, status.outcomes.get("found", 0), status.failed, status.files, status.rows)
        known = status.standing is not Standing.missing
        table.add_row(
            str(status.day),
            _standing(status),
            *(f"{number:,}" if known else "" for number in numbers),
            status.where if status.standing is Standing.complete else "",
        )
    Console(highlight=False, soft_wrap=True).print(table)


def show_settings(settings: Settings) -> None:
    """Every setting: its variable, its value, what it means."""
    table = Table(box=None, pad_edge=False)
    for name in ("variable", "value", "meaning"):
        table.add_column(name, overflow="fold")
    for group, name, field in all_settings():
        table.add_row(environment_variable(name), as_text(getattr(getattr(settings, group), name)), field.description)
    Console(highlight=False).print(table)


def _standing(status: DayStatus) -> str:
    return f"[{_COLOURS[status.standing]}]{status.standing.value}[/]"

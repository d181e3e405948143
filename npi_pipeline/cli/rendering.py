"""How the command line shows days to a person.

Not here: the commands (``commands``), single NPIs (``npi_rendering``) and settings (``settings_rendering``).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from npi_pipeline.delivery.delivery_status import DeliveryState, SinkStatus
from npi_pipeline.orchestration.day_run import DayRun
from npi_pipeline.orchestration.deliveries.delivery_run import DeliveryRun
from npi_pipeline.proofs.day_status import DayState, DayStatus

_MARKS = {DayState.complete: "■", DayState.partial: "◪", DayState.missing: "□"}
_COLOURS = {DayState.complete: "green", DayState.partial: "yellow", DayState.missing: "red"}


def show_day_run(run: DayRun) -> None:
    """The result of running one day: figures on standard output, problems and warnings below them."""
    status = run.status
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("day", f"{status.day} {_state_shown(status)}")
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
        console.print(f"[yellow]warning[/] {escape(line)}")
    for line in run.problems:
        console.print(f"[red]failed[/] {escape(line)}")


def show_backfill(runs: Iterable[DayRun], total: int) -> list[DayRun]:
    """A line for each of the ``total`` runs as it ends, and what went wrong with it; returns them all."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{total} days to run" if total else "every day of the range is complete")
    ended: list[DayRun] = []
    for run in runs:
        ended.append(run)
        status = run.status
        console.print(
            f"{status.day} {_state_shown(status)}  {status.npis:,} NPIs, {status.failed:,} failed, {run.seconds:.1f} s"
            f"  ({len(ended)} of {total})"
        )
        for line in run.problems:
            console.print(f"  [red]failed[/] {escape(line)}")
    failed = [str(run.status.day) for run in ended if not run.ok]
    if failed:
        console.print(f"[red]{len(failed)} of {total} days failed:[/] {', '.join(failed)}; run the same command again")
    return ended


def show_calendar(statuses: Sequence[DayStatus], problems: Mapping[dt.date, str]) -> None:
    """The days as weeks, Monday first, and a line for each that is not as it should be.

    ``problems`` is what is told of a day besides its state: by the audit, or of the files of its registry.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not statuses:
        console.print("there is no day yet: the first (NPI_START_DATE) is still to come")
        return
    by_day = {status.day: status for status in statuses}
    first, last = min(by_day), max(by_day)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
        table.add_column(name, justify="right", no_wrap=True)
    monday = first - dt.timedelta(days=first.weekday())
    while monday <= last:
        week = [monday + dt.timedelta(days=number) for number in range(7)]
        months = _months(day for day in week if day in by_day)
        table.add_row(months, *(_calendar_cell(by_day.get(day), problems) for day in week))
        monday += dt.timedelta(days=7)
    console.print(table)
    counted = Counter(status.state for status in statuses)
    counts = ", ".join(f"{counted[state]} {_MARKS[state]} {state.value}" for state in DayState)
    console.print(f"\n{len(statuses)} days: {counts}")
    incomplete_or_failed = [
        status for status in statuses if status.state is not DayState.complete or status.day in problems
    ]
    if incomplete_or_failed:
        console.print()
        show_days(incomplete_or_failed, problems)


def _months(days: Iterable[dt.date]) -> str:
    """The month of a week's days, or both of them, with the year."""
    known = list(days)
    months = dict.fromkeys(f"{day:%b}" for day in known)
    return f"{'/'.join(months)} {known[-1]:%Y}" if known else ""


def _calendar_cell(status: DayStatus | None, problems: Mapping[dt.date, str]) -> str:
    if status is None:
        return ""
    colour = "red" if status.day in problems else _COLOURS[status.state]
    mark = "!" if status.day in problems and status.state is DayState.complete else _MARKS[status.state]
    return f"[{colour}]{status.day.day:2} {mark}[/]"


def show_days(statuses: Iterable[DayStatus], problems: Mapping[dt.date, str]) -> None:
    """A line for each day, or for several in a row of which the same is to be told."""
    table = Table(box=None, pad_edge=False)
    for name in ("day", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("NPIs", "found", "failed", "files", "rows"):
        table.add_column(name, justify="right")
    table.add_column("where, or what is wrong", overflow="fold")
    for told, alike in itertools.groupby(statuses, key=lambda status: _told_of(status, problems)):
        days = [status.day for status in alike]
        # They come newest first, or oldest.
        table.add_row(f"{min(days)}" if len(days) == 1 else f"{min(days)} to {max(days)}", *told)
    Console(highlight=False, soft_wrap=True).print(table)


def _told_of(status: DayStatus, problems: Mapping[dt.date, str]) -> tuple[str, ...]:
    """What is told of a day besides its date: its state, its numbers, where it lies or what is wrong with it."""
    numbers = (status.npis, status.outcomes.get("found", 0), status.failed, status.files, status.rows)
    known = status.state is not DayState.missing
    where = status.where if status.state is DayState.complete else ""
    return (
        _state_shown(status),
        *(f"{number:,}" if known else "" for number in numbers),
        escape(problems.get(status.day) or status.problem or where),
    )


def show_deliveries(runs: Iterable[DeliveryRun], days: int) -> list[DeliveryRun]:
    """A line for each delivery as it ends, and what went wrong with it; returns them all."""
    console = Console(highlight=False, soft_wrap=True)
    if not days:
        console.print("no day of the range is published")
    ended: list[DeliveryRun] = []
    for run in runs:
        ended.append(run)
        said = "[green]delivered[/]" if run.ok else "[red]failed[/]"
        console.print(f"{run.day} {said} to {run.sink}, {run.seconds:.1f} s")
        for line in run.problems:
            console.print(f"  [red]failed[/] {escape(line)}")
    return ended


def show_sinks(sinks: Sequence[SinkStatus]) -> None:
    """A line for each sink: how many of the published days it holds, and which it lacks."""
    console = Console(highlight=False, soft_wrap=True)
    if sinks:
        console.print("\ndeliveries")
    for sink in sinks:
        if sink.problem:
            console.print(f"{sink.name}: [red]{escape(sink.problem)}[/]")
            continue
        delivered = len(sink.days_in(DeliveryState.delivered))
        lacking = [
            f"{len(days)} {state.value} ({', '.join(map(str, days))})"
            for state in (DeliveryState.outdated, DeliveryState.missing)
            if (days := sink.days_in(state))
        ]
        colour = "yellow" if lacking else "green"
        line = "; ".join([f"{delivered} of {len(sink.days)} published days delivered", *lacking])
        console.print(f"{sink.name} ({escape(sink.place)}): [{colour}]{line}[/]")


def _state_shown(status: DayStatus) -> str:
    return f"[{_COLOURS[status.state]}]{status.state.value}[/]"

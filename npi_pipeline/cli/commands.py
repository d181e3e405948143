"""The command line ``npi-pipeline``.

Thin: ``run`` and ``backfill`` drive the same definitions as the UI, ``status`` reads the same files as the checks.
Every setting is an option, made from ``settings``. Imports of Dagster stay inside the commands, so that ``--help``
answers at once.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npi_pipeline import __version__
from npi_pipeline.errors import PipelineError, to_install
from npi_pipeline.settings import Settings, all_settings, as_text, choices, environment_variable, unknown_variables

if TYPE_CHECKING:
    from npi_pipeline.delivery.delivery_status import SinkStatus
    from npi_pipeline.outcomes import NpiOutcome

# What a shell says of a command that ended by Ctrl-C.
_INTERRUPTED = 130
# The settings that a run goes by; the others are the schedule's, the sensors' and the deliveries'.
_OF_A_RUN = ("npi_list", "registry", "fetch", "files", "checks", "days", "logs")
# A person does not wait as long for a registry that is down as a day does.
_PATIENCE_SECONDS = 30.0

Command = TypeVar("Command", bound=Callable[..., Any])


class _KnownError(click.ClickException):
    """A PipelineError, as a shell is told of it: ``Error: `` and its line."""

    exit_code = 2


class _Command(click.Command):
    """A command whose known errors are lines, not tracebacks: with exit code 2; and 130 when it is broken off."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except PipelineError as error:
            if context.params.get("as_json"):
                click.echo(json.dumps({"error": str(error), "retryable": error.retryable}, indent=2))
            raise _KnownError(str(error)) from error
        except KeyboardInterrupt:
            click.echo("broken off; outcomes so far are kept, run the day again to go on from there", err=True)
            sys.exit(_INTERRUPTED)


class _Commands(click.Group):
    command_class = _Command


def setting_options(*groups: str, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Options for every setting of ``groups`` (all when none is named). Those given reach the command by name.

    There is none for those settings that the command goes ``without``.
    """

    def decorate(command: Command) -> Command:
        for group, name, field in reversed(list(all_settings())):
            if (groups and group not in groups) or name in without:
                continue
            flag = "--" + name.replace("_", "-")
            is_switch = field.annotation is bool
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if is_switch else flag,
                default=None,
                metavar=None if is_switch else "|".join(choices(field)) or "VALUE",
                help=f"{field.description} [{environment_variable(name)}; default: {as_text(field.default) or 'none'}]",
            )(command)
        return command

    return decorate


def _settings(options: dict[str, Any]) -> Settings:
    if unknown := unknown_variables(os.environ):
        click.echo(f"warning: {unknown}", err=True)
    return Settings.from_environment(
        os.environ, **{name: value for name, value in options.items() if value is not None}
    )


def _day(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dt.date | None:
    if value is None:
        return None
    try:
        return dt.date.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no date; write it like 2026-11-23") from error


def _run_and_exit(day: dt.date | None, options: dict[str, Any], *, as_json: bool) -> None:
    from npi_pipeline.cli.rendering import show_day_run
    from npi_pipeline.orchestration.day_run import run_day

    result = run_day(_settings(options), day or _today())
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
    else:
        show_day_run(result)
    sys.exit(0 if result.ok else 1)


def _today() -> dt.date:
    return dt.datetime.now(dt.timezone.utc).date()


def _last_days(start_date: dt.date) -> list[dt.date]:
    """The last 30 days that exist, newest first."""
    window = [_today() - dt.timedelta(days=ago) for ago in range(30)]
    return [day for day in window if day >= start_date]


date_option = click.option("--date", "day", callback=_day, metavar="YYYY-MM-DD", help="The day (UTC).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="npi-pipeline")
def main() -> None:
    """Look up a day's NPI list in a provider registry and publish one CSV per US state."""


@main.command()
@date_option
@json_option
@setting_options(*_OF_A_RUN)
def run(day: dt.date | None, *, as_json: bool, **options: Any) -> None:
    """Run one day (today by default). Exit code 0 only when the day is complete and published."""
    _run_and_exit(day, options, as_json=as_json)


@main.command()
@click.option("--from", "first", callback=_day, required=True, metavar="YYYY-MM-DD", help="The first day (UTC).")
@click.option("--to", "last", callback=_day, metavar="YYYY-MM-DD", help="The last day (UTC), today by default.")
@click.option("--complete-too", is_flag=True, help="Run the days that are complete, too.")
@json_option
@setting_options(*_OF_A_RUN)
def backfill(first: dt.date, last: dt.date | None, *, complete_too: bool, as_json: bool, **options: Any) -> None:
    """Run the days of a range that are not complete, newest first, one run per day.

    A day that fails leaves the others alone. Broken off, it goes on from there when it is started again. Exit code 0
    only when all of these days are complete.
    """
    from npi_pipeline.cli.rendering import show_backfill
    from npi_pipeline.orchestration.day_run import days_to_run, run_days

    settings = _settings(options)
    days = days_to_run(settings, first, last or _today(), complete_too=complete_too)
    runs = run_days(settings, days)
    if as_json:
        results = list(runs)
        click.echo(json.dumps([run.as_json() for run in results], indent=2))
    else:
        results = show_backfill(runs, len(days))
    sys.exit(0 if all(run.ok for run in results) else 1)


@main.command("retry-failed")
@date_option
@json_option
@setting_options(*_OF_A_RUN, without=("fetch_mode",))
def retry_failed(day: dt.date | None, *, as_json: bool, **options: Any) -> None:
    """Ask again for the NPIs of a day that failed, for whatever reason, and publish the day anew."""
    _run_and_exit(day, {**options, "fetch_mode": "failed"}, as_json=as_json)


@main.command()
@date_option
@click.option("--from", "first", callback=_day, metavar="YYYY-MM-DD", help="The first day of a range (UTC).")
@click.option("--to", "last", callback=_day, metavar="YYYY-MM-DD", help="Its last day, today by default.")
@click.option("--to-sink", "to_sinks", multiple=True, metavar="NAME", help="Only to this sink (may be given again).")
@click.option("--again", is_flag=True, help="Deliver what the sinks' receipts say they hold, too.")
@json_option
@setting_options("files", "days", "deliveries", "logs")
def deliver(
    day: dt.date | None,
    first: dt.date | None,
    last: dt.date | None,
    *,
    to_sinks: tuple[str, ...],
    again: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Deliver a published day (today by default), or those of a range, to the sinks of NPI_DELIVER_TO, and prove it.

    What a sink holds already is left alone. What fails leaves the others alone. Exit code 0 only when all is delivered.
    """
    from npi_pipeline.cli.rendering import show_deliveries
    from npi_pipeline.orchestration.deliveries.delivery_run import days_to_deliver, deliver_days

    if day and (first or last):
        raise click.UsageError("give --date, or --from and --to")
    if last and not first:
        raise click.UsageError("--to needs --from")
    settings = _settings(options)
    days = days_to_deliver(settings, first, last or _today()) if first else [day or _today()]
    runs = deliver_days(settings, days, to_sinks, again=again)
    if as_json:
        results = list(runs)
        click.echo(json.dumps([run.as_json() for run in results], indent=2))
    else:
        results = show_deliveries(runs, len(days))
    sys.exit(0 if all(run.ok for run in results) else 1)


@main.command()
@date_option
@json_option
@setting_options("files", "days", "monitoring", "deliveries", "registry")
def status(day: dt.date | None, *, as_json: bool, **options: Any) -> None:
    """Show the last 30 days as a calendar, and what is wrong with those that are not complete (or show one day).

    With DAGSTER_HOME set it says of each also what its last run came to, as the audit does; with NPI_DELIVER_TO set,
    what each sink holds of them, by its receipts. Where the registry is files, a day is told of that was made before
    a file of its registry came.
    """
    from npi_pipeline.cli.rendering import show_calendar, show_days, show_sinks
    from npi_pipeline.proofs.day_status import status_of_days
    from npi_pipeline.storage.open_root import open_data_root

    settings = _settings(options)
    days = [day] if day else _last_days(settings.days.start_date)
    statuses = status_of_days(open_data_root(settings.files.data_root), settings.files, days)
    problems = _problems(settings, days)
    older = _of_an_older_registry(settings, days)
    sinks = _sinks(settings, days)
    if as_json:
        audited = [
            status.as_json()
            | {"audit": problems.get(status.day)}
            | ({"registry": older.get(status.day)} if settings.registry.has_snapshot else {})
            | ({"deliveries": {sink.name: sink.told_of(status.day) for sink in sinks}} if sinks else {})
            for status in statuses
        ]
        click.echo(json.dumps(audited, indent=2))
        return
    told = older | problems
    if day:
        show_days(statuses, told)
    else:
        show_calendar(statuses, told)
    show_sinks(sinks)


@main.command()
@date_option
@click.option("--open", "is_opened", is_flag=True, help="Open it in the browser.")
@click.option("--link", "is_linked", is_flag=True, help="Print a link to it that asks for no credentials, for an hour.")
@json_option
@setting_options("files")
def report(day: dt.date | None, *, is_opened: bool, is_linked: bool, as_json: bool, **options: Any) -> None:
    """Make the report of a day (today by default) from its files, complete or not, and say where it lies.

    Exit code 0 only when the day is complete and what is claimed of it was proven to hold, warnings aside.
    """
    from npi_pipeline.cli.report_rendering import link_to, opened, show_report
    from npi_pipeline.report.day_report import Verdict
    from npi_pipeline.report.make_report import json_of, make_report, report_page_path
    from npi_pipeline.storage.open_root import open_data_root

    files = _settings(options).files
    root = open_data_root(files.data_root)
    made = make_report(root, files, day or _today())
    path = report_page_path(made.day)
    if as_json:
        click.echo(json_of(made).decode(), nl=False)
    else:
        show_report(made, root.uri(path))
        if is_linked:
            click.echo(link_to(root, path))
    if is_opened:
        click.launch(opened(root, path))
    sys.exit(0 if made.verdict in {Verdict.holds, Verdict.warns} else 1)


@main.command()
@date_option
@click.option("--npi", required=True, metavar="NPI", help="The NPI, as it stands in the list.")
@json_option
@setting_options("files")
def explain(day: dt.date | None, npi: str, *, as_json: bool, **options: Any) -> None:
    """Tell everything that is known of one NPI on a day (today by default): where it stands in the list, each row of
    the journal with its answer, its row of the provider table, the files that it is in, what changed about it.

    Exit code 1 when nothing is known of it, or something could not be read or does not go together.
    """  # noqa: D205
    from npi_pipeline.cli.npi_rendering import show_explanation
    from npi_pipeline.explain import explain as explain_npi
    from npi_pipeline.storage.open_root import open_data_root

    files = _settings(options).files
    explanation = explain_npi(open_data_root(files.data_root), files, day or _today(), npi.strip())
    if as_json:
        click.echo(json.dumps(explanation.as_json(), indent=2, default=_date_as_text))
    else:
        show_explanation(explanation)
    sys.exit(0 if explanation.is_known and not explanation.problems else 1)


@main.command()
@click.argument("npis", metavar="NPI...", nargs=-1, required=True)
@json_option
@setting_options("registry", "fetch", "files")
def lookup(npis: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Look NPIs up in the registry that the settings name, and keep nothing of it.

    With NPI_REGISTRY_FORMAT=nppes_bulk it is the newest snapshot that is prepared. Exit code 0 only when each is found.
    """
    from npi_pipeline.cli.npi_rendering import show_lookups
    from npi_pipeline.outcomes import Outcome

    outcomes = _looked_up(_settings(options), [npi.strip() for npi in npis])
    if as_json:
        click.echo(json.dumps([_lookup_as_json(outcome) for outcome in outcomes], indent=2))
    else:
        show_lookups(outcomes)
    sys.exit(0 if all(outcome.verdict.outcome is Outcome.found for outcome in outcomes) else 1)


@main.command()
@click.option("--write", type=click.Path(dir_okay=False), metavar="FILE", help="Replace this file in one step.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Serve them here, read anew each time they are asked for.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve them at.")
@setting_options("files", "days", "deliveries")
def metrics(write: str | None, port: int | None, host: str, **options: Any) -> None:
    """Print the numbers of the newest days as Prometheus takes them, write them to a file, or serve them.

    Freshness, NPIs by outcome, requests, refusals and seconds of the newest complete day; what each sink lacks of the
    last 30 days. A file is for the textfile collector of node_exporter, a port for containers.
    """
    try:
        import prometheus_client as prometheus
    except ImportError as error:
        raise PipelineError(f"the metrics cannot be made: {error}; {to_install('metrics')}") from error
    from npi_pipeline.metrics import NewestDays

    settings = _settings(options)
    registry = prometheus.CollectorRegistry()
    registry.register(NewestDays(settings, lambda: _last_days(settings.days.start_date)))
    if port is not None:
        server, serving = prometheus.start_http_server(port, host, registry)
        click.echo(f"serving http://{host}:{server.server_port}/metrics", err=True)
        serving.join()
    elif write:
        prometheus.write_to_textfile(write, registry)
    else:
        click.echo(prometheus.generate_latest(registry), nl=False)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@setting_options("files", "monitoring", "retention")
def retention(*, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Remove the journals and tables of published days that are older than NPI_KEEP_DAYS, and what else is set so."""
    import dataclasses

    from npi_pipeline.retention import remove_old_days
    from npi_pipeline.storage.open_root import open_data_root

    settings = _settings(options)
    removed = remove_old_days(open_data_root(settings.files.data_root), settings, _today(), dry_run=dry_run)
    if as_json:
        left = {str(day): why for day, why in removed.left.items()}
        click.echo(json.dumps(dataclasses.asdict(removed) | {"left": left}, indent=2))
    else:
        click.echo(str(removed))


@main.command()
@json_option
@setting_options()
def doctor(*, as_json: bool, **options: Any) -> None:
    """Look whether all is there that a day needs: NPI list, clock, registry, files, data root, Dagster home, sinks.

    Each is a line, with its remedy when it is not ok. Exit code 1 when one failed; warnings let a day run.
    """
    from npi_pipeline.cli.doctor import State, diagnose

    failed = False
    told = []
    for diagnosis in diagnose(_settings(options), _today()):
        failed |= diagnosis.state is State.failed
        told.append({"name": diagnosis.name, "state": diagnosis.state.value, "line": diagnosis.line})
        if not as_json:
            click.echo(f"{diagnosis.state.value:8} {diagnosis.name}: {diagnosis.line}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    sys.exit(1 if failed else 0)


def _looked_up(settings: Settings, npis: list[str]) -> list[NpiOutcome]:
    if settings.registry.is_bulk:
        from npi_pipeline.npi_records.record_snapshot import lookup_in_snapshot
        from npi_pipeline.registries.nppes_bulk.day_snapshot import newest_snapshot
        from npi_pipeline.storage.open_root import open_data_root

        root = open_data_root(settings.files.data_root)
        return lookup_in_snapshot(root, newest_snapshot(root), npis)
    from npi_pipeline.http_fetch.lookup import lookup as lookup_npis

    registry = settings.registry
    patience = {"down_after": min(settings.fetch.down_after, _PATIENCE_SECONDS), "loop_till_done": False}
    return lookup_npis(
        npis, registry.registry_format.value, registry.registry_url, settings=settings.fetch.model_copy(update=patience)
    )


def _lookup_as_json(outcome: NpiOutcome) -> dict[str, object]:
    """The outcome for machines; the record of a found one as JSON and not as text."""
    verdict = outcome.verdict
    return {
        "npi": outcome.npi,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "retryable": verdict.retryable,
        "status": outcome.status,
        "attempts": outcome.attempts,
        "fetched_at": outcome.fetched_at.isoformat(),
        "body": json.loads(outcome.body) if verdict.outcome.value == "found" and outcome.body else None,
    }


def _date_as_text(value: dt.date) -> str:
    return value.isoformat()


def _sinks(settings: Settings, days: list[dt.date]) -> list[SinkStatus]:
    """What each sink holds of those of ``days`` that are complete."""
    sinks = settings.deliveries.sinks
    if not sinks:
        return []
    from npi_pipeline.delivery.delivery_status import publication_keys, status_of_sink
    from npi_pipeline.delivery.destinations import sink_of
    from npi_pipeline.storage.open_root import open_data_root

    published = publication_keys(open_data_root(settings.files.data_root), settings.files, days)
    return [status_of_sink(sink_of(sink), published) for sink in sinks]


def _problems(settings: Settings, days: list[dt.date]) -> dict[dt.date, str]:
    """What the audit says of the days that are not as they should be; nothing, when there is no instance to ask."""
    if not os.environ.get("DAGSTER_HOME"):
        return {}
    from npi_pipeline.orchestration.dagster_home import open_instance
    from npi_pipeline.orchestration.monitoring.audit import days_left_behind
    from npi_pipeline.orchestration.monitoring.recent_days import recent_days
    from npi_pipeline.storage.open_root import open_data_root

    root = open_data_root(settings.files.data_root)
    with open_instance() as instance:
        return dict(days_left_behind(instance, recent_days(instance, root, settings.files, days)))


def _of_an_older_registry(settings: Settings, days: list[dt.date]) -> dict[dt.date, str]:
    """What is to be told of the days that were made before a file of their registry came."""
    if not settings.registry.has_snapshot:
        return {}
    from npi_pipeline.registries.nppes_bulk.later_files import days_of_an_older_registry
    from npi_pipeline.storage.open_root import open_data_root

    root = open_data_root(settings.files.data_root)
    try:
        return days_of_an_older_registry(root, settings.registry.bulk_files, days)
    except PipelineError as error:
        # How the days stand can be told without it.
        click.echo(f"warning: {error}", err=True)
        return {}


@main.command()
@json_option
@setting_options()
def settings(*, as_json: bool, **options: Any) -> None:
    """Show every setting with the value that is in force, and where it comes from."""
    from npi_pipeline.cli.settings_rendering import settings_in_force, show_settings

    given = {name for name, value in options.items() if value is not None}
    in_force = settings_in_force(_settings(options), os.environ, given)
    if as_json:
        click.echo(json.dumps([setting.as_json() for setting in in_force], indent=2))
    else:
        show_settings(in_force)


@main.group(cls=_Commands)
def bulk() -> None:
    """Dissemination files: those of CMS as a registry."""


@bulk.command()
@click.option("--npis", default=10_000, type=click.IntRange(1, 10_000_000), show_default=True, help="How many NPIs.")
@click.option(
    "--weeks", default=0, type=click.IntRange(0, 520), show_default=True, help="Weekly files after the month's."
)
@click.option("--seed", default=0, show_default=True, help="Of the emulated registry that they agree with.")
@click.option(
    "--date", "day", callback=_day, metavar="YYYY-MM-DD", help="The files are of the Sunday before, or today."
)
@click.option(
    "--folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where to put them; it may exist."
)
def make(npis: int, *, weeks: int, seed: int, day: dt.date | None, folder: Path) -> None:
    """Make up dissemination files: a monthly one, weekly ones after it, and the deactivation report.

    They are named as CMS names them, and tell of the providers of the emulated registry, for trying and for tests.
    """
    from npi_pipeline.demo import ensure_installed

    ensure_installed("npi-pipeline bulk make", ("orjson",))
    from npi_pipeline.testing.bulk import Country, write_files

    last = day or _today()
    sunday = last - dt.timedelta(days=last.isoweekday() % 7)
    country = Country(size=npis, seed=seed, start=sunday - dt.timedelta(weeks=weeks))
    for path in write_files(country, folder, weeks):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


@main.command()
@click.option("--npis", default=1_000, type=click.IntRange(1, 5_000_000), show_default=True, help="Size of the list.")
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the demo, with a few past days missing.")
@click.option("--deliver", is_flag=True, help="Deliver to a DuckDB file and a lake of Parquet, too, and query them.")
@click.option("--bulk", is_flag=True, help="Look today up in made-up dissemination files, too, and compare.")
@click.option(
    "--days", "past_days", default=14, type=click.IntRange(2, 366), show_default=True, help="So many days in the UI."
)
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option(
    "--folder",
    default=".demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the demo keeps its files; each demo begins by deleting those of the one before, and no others.",
)
def demo(npis: int, *, port: int, folder: Path, past_days: int, **shown: bool) -> None:
    """Try everything on this machine: an emulated registry, a local S3 server and made-up providers."""
    from npi_pipeline.cli.rendering import show_day_run
    from npi_pipeline.demo import ensure_installed

    ensure_installed()
    from npi_pipeline.demo.session import run_demo

    sys.exit(run_demo(npis=npis, port=port, folder=folder, show=show_day_run, past_days=past_days, **shown))

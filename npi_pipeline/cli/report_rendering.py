"""How the report of a day is told of on a terminal, and opened. Not here: the report (``npi_pipeline.report``)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from npi_pipeline.report.day_report import DayReport
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.s3 import S3Root

_LINK_SECONDS = 3600


def show_report(report: DayReport, where: str) -> None:
    """The verdict, what does not hold, and where the report lies."""
    click.echo(f"{report.day}: {report.headline}")
    for finding in (*report.broken, *report.warnings):
        click.echo(f"  {'broken' if finding.is_blocking else 'warning'}  {finding.name}: {finding.line}")
    for problem in report.problems:
        click.echo(f"  unread   {problem}")
    click.echo(where)


def link_to(root: DataRoot, path: str) -> str:
    """An address that a browser opens: of an object on S3 one that asks for no credentials, for an hour."""
    if isinstance(root, S3Root):
        return root.link(path, "text/html; charset=utf-8", _LINK_SECONDS)
    return Path(root.uri(path)).as_uri()


def opened(root: DataRoot, path: str) -> str:
    """A local file with the page: of an object on S3 a copy, in the folder for temporary files."""
    if not isinstance(root, S3Root):
        return root.uri(path)
    copy = Path(tempfile.mkdtemp(prefix="npi-report-")) / Path(path).name
    root.download(path, copy)
    return str(copy)

"""The report of a day as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

What it shows comes from outside (names, addresses, a registry's own words): the template escapes all of it, and the
page forbids itself to load or to run anything. Not here: what it says (``day_report``), and the pictures (``charts``).
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
from typing import TYPE_CHECKING

from npi_pipeline.providers.states import NAMES
from npi_pipeline.report import charts
from npi_pipeline.report.day_report import DayReport, RecentDay, StateRows

if TYPE_CHECKING:
    from jinja2 import Template

# The small multiples: what is drawn, its title, and whether it is a share of the list.
_MULTIPLES = (
    ("npis", "NPIs in the list", False),
    ("found_share", "found", True),
    ("not_found_share", "not found", True),
    ("deactivated_share", "deactivated", True),
    ("failed_share", "failed", True),
    ("rows", "rows in state files", False),
    ("joined", "joined the list", False),
    ("providers_changed", "providers with changed fields", False),
)
# So long seconds are told with their tenths.
_SHORT_SECONDS = 100


def page_of(report: DayReport) -> str:
    """The page. The same report gives the same text."""
    return _template().render(
        report=report,
        maps=_maps(report) if report.states else (),
        elsewhere=[rows for rows in report.states if rows.state not in charts.state_outlines()],
        multiples=_multiples(report.recent),
        columns=charts.columns,
        names=NAMES,
    )


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("npi_pipeline.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "share": share, "signed": signed, "moment": moment, "duration": duration}
    style = importlib.resources.files("npi_pipeline.report").joinpath("day_report.css").read_text("utf-8")
    environment.globals["style"] = style
    return environment.get_template("day_report.html")


def _maps(report: DayReport) -> list[dict[str, object]]:
    """The map of the providers, and that of what changed, where there is a day to compare with."""
    rows = {of.state: of.rows for of in report.states}
    most = sorted((of for of in report.states if of.state in charts.state_outlines()), key=lambda of: -of.rows)[:3]
    maps: list[dict[str, object]] = [
        {
            "title": "Providers per state",
            "picture": charts.state_map(
                rows,
                f"Map of the states by providers. Most: {_named(most, [of.rows for of in most])}.",
                lambda state, value: f"{NAMES[state]}: {value:,}",
                is_change=False,
            ),
            "legend": [("s0", "0"), *((f"s{shade}", "") for shade in range(1, charts.SHADES)), _last_shade(rows)],
        }
    ]
    if any(of.rows_before is not None for of in report.states):
        change = {of.state: of.rows - (of.rows_before or 0) for of in report.states}
        moved = sorted(
            (of for of in report.states if of.state in charts.state_outlines()), key=lambda of: -abs(change[of.state])
        )[:3]
        maps.append(
            {
                "title": f"Change since {report.changes.compared_with}" if report.changes else "Change",
                "picture": charts.state_map(
                    change,
                    "Map of the states by change of providers. "
                    f"Largest: {_named(moved, [signed(change[of.state]) for of in moved])}.",
                    lambda state, value: f"{NAMES[state]}: {signed(value)}",
                    is_change=True,
                ),
                "legend": [("sdown5", "fewer"), ("sdown3", ""), ("s0", "same"), ("sup3", ""), ("sup5", "more")],
            }
        )
    return maps


def _last_shade(rows: dict[str, int]) -> tuple[str, str]:
    most = max((rows.get(state, 0) for state in charts.state_outlines()), default=0)
    return f"s{charts.SHADES}", f"{most:,}"


def _named(states: list[StateRows], values: list[object]) -> str:
    shown = (f"{value:,}" if isinstance(value, int) else value for value in values)
    return ", ".join(f"{NAMES[of.state]} {value}" for of, value in zip(states, shown, strict=True))


def _multiples(recent: tuple[RecentDay, ...]) -> list[dict[str, object]]:
    """A small picture for each figure of the last days that any of them has."""
    multiples: list[dict[str, object]] = []
    for figure, title, is_share in _MULTIPLES:
        values = [day.figures.get(figure) for day in recent]
        known = [value for value in values if value is not None]
        if not known:
            continue
        told = share if is_share else count
        low, high, last = told(min(known)), told(max(known)), told(known[-1])
        multiples.append(
            {
                "title": title,
                "last": last,
                "range": f"{low} to {high}" if low != high else "the same on all days",
                "picture": charts.line(values, f"{title} on the last days: from {low} to {high}, last {last}"),
            }
        )
    return multiples


def count(number: float) -> str:
    """A number with commas between thousands."""
    return f"{number:,.0f}"


def share(part: float) -> str:
    """A share in percent: never 0 or 100 but where it is."""
    if part in {0, 1}:
        return f"{part:.0%}"
    for digits in (1, 2, 3, 4):
        text = f"{part:.{digits}%}"
        if float(text[:-1]) not in {0.0, 100.0}:
            return text.replace(".0%", "%")
    return text


def signed(change: int) -> str:
    """A change with its sign."""
    return f"+{change:,}" if change > 0 else f"\u2212{-change:,}" if change else "0"


def moment(time: dt.datetime) -> str:
    """A time, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """So many seconds for a person."""
    if seconds < _SHORT_SECONDS:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute:02} min" if hours else f"{minute} min {second:02} s"

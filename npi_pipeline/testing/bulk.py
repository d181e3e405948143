"""Made-up dissemination files that agree with the emulated registry: its made-up providers, in the zips of CMS.

A made-up country is a list of NPIs that changes from week to week. What it holds of an NPI in a week is a pure
function, so that a test knows the truth of every day: ``answer_on`` is what the API would say, ``write_monthly`` and
the others what CMS would publish. The files are as those of 2026: the main one in capitals, an organisation's other
names in a file of their own, and what CMS withholds withheld.

Not here: reading them (``npi_pipeline.registries.nppes_bulk``), and which providers there are (``providers``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import functools
import io
import itertools
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias
from xml.sax.saxutils import escape

from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries.nppes_bulk.child_files import ADDRESS_OF_ENDPOINT, ADDRESS_OF_LOCATION, ENDPOINT
from npi_pipeline.registries.nppes_bulk.code_tables import code_table
from npi_pipeline.registries.nppes_bulk.columns import (
    CHILD_COLUMNS,
    IDENTIFIER_COLUMNS,
    IDENTIFIER_SLOTS,
    MAIN_COLUMNS,
    TAXONOMY_COLUMNS,
    TAXONOMY_GROUP,
    TAXONOMY_SLOTS,
    slot,
)
from npi_pipeline.registries.nppes_bulk.records import (
    ADDRESS,
    ADDRESSES,
    BASIC_OF_ORGANISATION,
    BASIC_OF_PERSON,
    DATES,
    NAME_OF_ORGANISATION,
    NAME_OF_PERSON,
    ORGANISATION,
    PERSON,
    SEE_OTHER_NAMES,
    WITHHELD,
)
from npi_pipeline.testing import providers

FIRST_DAY = dt.date(2005, 5, 23)
"""All monthly files say that they begin here: when the registry did."""

CHANGED_SHARE = 0.006
DEACTIVATED_SHARE = 0.001
REACTIVATED_SHARE = ENUMERATED_SHARE = 0.02

Json = dict[str, Any]
Cells = dict[str, str]
Rows = dict[str, bytes]

_DAY = dt.timedelta(days=1)
_WEEK = 7 * _DAY
MAIN = "npidata"
"""The kind of the main file, as its name has it."""

_OTHER_SEED = 1_000_003
_PLACES = {
    kind: {column: place for place, column in enumerate(columns)}
    for kind, columns in ({MAIN: MAIN_COLUMNS} | CHILD_COLUMNS).items()
}
_COLUMNS_OF_ADDRESS = {
    purpose: {name: column.format(kind) for name, column in ADDRESS.items()} for purpose, kind in ADDRESSES.values()
}
_TAXONOMY_SLOTS = [
    {name: slot(column, number) for name, column in (TAXONOMY_COLUMNS | {"taxonomy_group": TAXONOMY_GROUP}).items()}
    for number in range(1, TAXONOMY_SLOTS + 1)
]
_IDENTIFIER_SLOTS = [
    {name: slot(column, number) for name, column in IDENTIFIER_COLUMNS.items()}
    for number in range(1, IDENTIFIER_SLOTS + 1)
]


class Event(str, enum.Enum):
    """What can become of an NPI in a week."""

    changed = "changed"
    deactivated = "deactivated"
    reactivated = "reactivated"
    enumerated = "enumerated"


State: TypeAlias = Json | dt.date | None
"""What a country holds of an NPI: its record, the day since when it is out of service, or nothing."""


@dataclasses.dataclass(frozen=True)
class Country:
    """A made-up country of ``size`` NPIs, of which the emulated registry of ``seed`` tells.

    ``start`` is a Sunday: the last day of week 0, when the country is as the emulated registry has it. Weeks after it
    end on Sundays, too. Events are drawn for each NPI and week (see the shares), but for the ``events`` given by
    (NPI, week). With ``quiet`` there are no others.
    """

    size: int
    seed: int = 0
    start: dt.date = dt.date(2026, 8, 9)
    events: Mapping[tuple[str, int], Event] = dataclasses.field(default_factory=dict)
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.start.isoweekday() != 7:  # noqa: PLR2004
            raise ValueError(f"{self.start} is no Sunday")

    def npis(self) -> Iterator[str]:
        """All NPIs that it has or will have."""
        return providers.npi_numbers(self.size, self.seed)

    def sunday(self, week: int) -> dt.date:
        """The last day of ``week``."""
        return self.start + week * _WEEK

    def state(self, npi: str, week: int = 0) -> State:
        """What it holds of ``npi`` at the end of ``week``."""
        state = self._in_the_beginning(npi)
        for number in range(1, week + 1):
            if event := self._event(npi, number, state):
                state = self._after(event, npi, number, state)
        return state

    def changes(self, week: int) -> Iterator[tuple[str, State]]:
        """The NPIs to which something happened in ``week``, and what they came to."""
        for npi in self.npis():
            if (npi, week) in self.events or (not self.quiet and self._share(npi, week) < REACTIVATED_SHARE):
                before = self.state(npi, week - 1)
                if event := self._event(npi, week, before):
                    yield npi, self._after(event, npi, week, before)

    def _in_the_beginning(self, npi: str) -> State:
        outcome = providers.outcome_of(npi, self.seed)
        if outcome is Outcome.found:
            return providers.record_of(npi, self.seed)
        if outcome is Outcome.not_found:
            return None
        return FIRST_DAY + int(self._share(npi, 0) * (self.start - FIRST_DAY).days) * _DAY

    def _event(self, npi: str, week: int, state: State) -> Event | None:
        if given := self.events.get((npi, week)):
            return given
        if self.quiet:
            return None
        share = self._share(npi, week)
        if isinstance(state, dict):
            changed = Event.changed if share < CHANGED_SHARE else None
            return Event.deactivated if share < DEACTIVATED_SHARE else changed
        if state is None:
            return Event.enumerated if share < ENUMERATED_SHARE else None
        return Event.reactivated if share < REACTIVATED_SHARE else None

    def _after(self, event: Event, npi: str, week: int, state: State) -> State:
        """What ``event`` makes of ``state``. Raises ValueError for an event that cannot happen to it."""
        day = self.sunday(week) - int(self._share(npi, -week) * 7) * _DAY
        if event is Event.deactivated and isinstance(state, dict):
            return day
        if event is Event.changed and isinstance(state, dict):
            moved = providers.record_of(npi, self.seed + _OTHER_SEED * week)
            places = {name: moved[name] for name in ("addresses", "practiceLocations", "endpoints")}
            return _updated(state | places, day)
        if event is Event.enumerated and state is None:
            return _updated(providers.record_of(npi, self.seed), day, enumeration_date=day)
        if event is Event.reactivated and isinstance(state, dt.date):
            record = providers.record_of(npi, self.seed)
            return _updated(record, day, deactivation_date=state, reactivation_date=day)
        raise ValueError(f"{npi} cannot be {event.value} in week {week}: it is {type(state).__name__} before")

    def _share(self, npi: str, week: int) -> float:
        return zlib.crc32(f"{self.seed} {npi} {week}".encode()) / 2**32


def _updated(record: Json, day: dt.date, **days: dt.date) -> Json:
    """``record`` as it was changed on ``day``."""
    basic = record["basic"] | {"last_updated": day.isoformat()}
    basic |= {name: of_event.isoformat() for name, of_event in days.items()}
    seconds = (day - dt.date(1970, 1, 1)).days * 86_400
    return record | {"basic": basic, "last_updated_epoch": f"{seconds}000"}


def answer_on(country: Country, npi: str, week: int = 0) -> bytes:
    """What the NPI Registry's API says of ``npi`` at the end of ``week``."""
    state = country.state(npi, week)
    if state is None:
        return providers.NOT_FOUND
    return providers.answer_of(state) if isinstance(state, dict) else providers.deactivated_answer(npi)


def write_files(country: Country, folder: Path, weeks: int = 0) -> Iterator[Path]:
    """The files of ``country`` up to the end of week ``weeks`` in ``folder``, which is made, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    yield write_monthly(country, folder)
    for week in range(1, weeks + 1):
        yield write_weekly(country, folder, week)
    yield write_deactivations(country, folder, weeks)


def write_monthly(country: Country, folder: Path, week: int = 0, *, copies: int = 1) -> Path:
    """The monthly file of all that the country holds at the end of ``week``.

    With ``copies`` it is one for benchmarks, made faster: each so many NPIs that follow each other have the same rows.
    """
    day = country.sunday(week)
    rows = _copied(country, week, copies) if copies > 1 else _rows((n, country.state(n, week)) for n in country.npis())
    return write_file(folder / f"NPPES_Data_Dissemination_{day:%B_%Y}_V2.zip", FIRST_DAY, day, rows)


def write_weekly(country: Country, folder: Path, week: int) -> Path:
    """The weekly file of what happened in ``week``."""
    last = country.sunday(week)
    first = last - 6 * _DAY
    name = f"NPPES_Data_Dissemination_{first:%m%d%y}_{last:%m%d%y}_Weekly_V2.zip"
    return write_file(folder / name, first, last, _rows(country.changes(week)))


def write_deactivations(country: Country, folder: Path, week: int = 0) -> Path:
    """The report of the NPIs that are out of service at the end of ``week``."""
    day = country.sunday(week)
    states = ((npi, country.state(npi, week)) for npi in country.npis())
    gone = [(npi, f"{state:%m/%d/%Y}") for npi, state in states if isinstance(state, dt.date)]
    rows = [("NPPES Deactivated NPI Report", ""), ("NPI", "NPPES Deactivation Date"), *gone]
    path = folder / f"NPPES_Deactivated_NPI_Report_{day:%m%d%y}_V2.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"NPPES Deactivated NPI Report {day:%Y%m%d}.xlsx", _sheet("DeactivatedNPIs", rows))
    return path


def write_file(path: Path, first: dt.date, last: dt.date, rows: Iterable[Rows]) -> Path:
    """The zip at ``path``, which tells of ``first`` to ``last``, of ``rows`` (see ``rows_of``) in their order."""
    with contextlib.ExitStack() as open_files:
        archive = open_files.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
        # A zip is written a member at a time.
        later = {kind: open_files.enter_context(tempfile.TemporaryFile()) for kind in CHILD_COLUMNS}
        with _member(archive, MAIN, first, last) as main:
            for of_npi in rows:
                main.write(of_npi[MAIN])
                for kind in of_npi.keys() & later.keys():
                    later[kind].write(of_npi[kind])
        for kind, lines in later.items():
            lines.seek(0)
            with _member(archive, kind, first, last) as member:
                shutil.copyfileobj(lines, member)
    return path


def _member(archive: zipfile.ZipFile, kind: str, first: dt.date, last: dt.date) -> IO[bytes]:
    """A CSV in the zip with its header written, and its twin that is nothing but the header."""
    name = f"{kind}_pfile_{first:%Y%m%d}-{last:%Y%m%d}"
    archive.writestr(f"{name}_fileheader.csv", _header(kind))
    member = archive.open(f"{name}.csv", "w", force_zip64=True)
    member.write(_header(kind))
    return member


def _rows(states: Iterable[tuple[str, State]]) -> Iterator[Rows]:
    return (rows_of(npi, state) for npi, state in states if state is not None)


def _copied(country: Country, week: int, copies: int) -> Iterator[Rows]:
    npis = country.npis()
    while alike := list(itertools.islice(npis, copies)):
        state = country.state(alike[0], week)
        if state is None:
            continue
        rows = rows_of(alike[0], state)
        first = alike[0].encode()
        for npi in alike:
            yield {kind: lines.replace(first, npi.encode()) for kind, lines in rows.items()}


def rows_of(npi: str, state: Json | dt.date) -> Rows:
    """The lines about ``npi`` by the kind of the file that they stand in."""
    if isinstance(state, dt.date):
        return {MAIN: _line(MAIN, {"NPI": npi, "NPI Deactivation Date": _day(state.isoformat())})}
    is_person = state["enumeration_type"] == "NPI-1"
    rows = {MAIN: _line(MAIN, _main_cells(state, is_person=is_person)).upper()}
    items = {
        "othername": [] if is_person else [_other_name(name) for name in state["other_names"]],
        "pl": [_practice_location(location) for location in state["practiceLocations"]],
        "endpoint": [_endpoint(endpoint) for endpoint in state["endpoints"]],
    }
    for kind, of_kind in items.items():
        if of_kind:
            rows[kind] = b"".join(_line(kind, {"NPI": npi} | cells) for cells in of_kind)
    return rows


def _header(kind: str) -> bytes:
    return _in_quotes(list(_PLACES[kind]))


def _line(kind: str, cells: Cells) -> bytes:
    """The line of ``cells`` by column."""
    places = _PLACES[kind]
    values = [""] * len(places)
    for column, cell in cells.items():
        # As CMS does it.
        values[places[column]] = cell.replace('"', "'")
    return _in_quotes(values)


def _in_quotes(values: list[str]) -> bytes:
    text = '","'.join(values)
    return f'"{text}"\n'.encode()


def _main_cells(record: Json, *, is_person: bool) -> Cells:
    basic = record["basic"]
    cells = {"NPI": record["number"], "Entity Type Code": PERSON if is_person else ORGANISATION}
    cells |= _cells(basic, (BASIC_OF_PERSON if is_person else BASIC_OF_ORGANISATION) | DATES)
    addresses = {address["address_purpose"]: address for address in record["addresses"]}
    for purpose, columns in _COLUMNS_OF_ADDRESS.items():
        cells |= _cells(addresses[purpose], columns)
    for taxonomy, columns in zip(record["taxonomies"], _TAXONOMY_SLOTS, strict=False):
        cells |= _cells(taxonomy, columns)
    for identifier, columns in zip(record["identifiers"], _IDENTIFIER_SLOTS, strict=False):
        cells |= _cells(identifier, columns)
    if is_person:
        for name in record["other_names"]:
            cells |= _cells(name, NAME_OF_PERSON)
        return cells
    cells["Employer Identification Number (EIN)"] = WITHHELD
    if basic["organizational_subpart"] == "YES":
        cells["Parent Organization TIN"] = WITHHELD
    if record["other_names"]:
        cells |= {NAME_OF_ORGANISATION["organization_name"]: WITHHELD, NAME_OF_ORGANISATION["code"]: SEE_OTHER_NAMES}
    return cells


def _cells(part: Json, columns: Mapping[str, str]) -> Cells:
    """The cells of the fields of ``part`` that have a column and a value."""
    return {
        column: _cell(name, value)
        for name, column in columns.items()
        if (value := part.get(name)) not in {None, "", "--"}
    }


def _cell(name: str, value: Any) -> str:
    """What the field ``name`` of a record is in a file."""
    if isinstance(value, bool):
        return "Y" if value else "N"
    if name in DATES:
        return _day(value)
    if name in {"telephone_number", "fax_number"}:
        return str(value).replace("-", "")
    if name in {"sole_proprietor", "organizational_subpart"}:
        return str(value)[0]
    return _words_of_file("taxonomy_groups")[value] if name == "taxonomy_group" else str(value)


def _day(iso: str) -> str:
    return f"{iso[5:7]}/{iso[8:]}/{iso[:4]}"


@functools.cache
def _words_of_file(table: str) -> dict[str, str]:
    return {api: file for file, api in code_table(table).items() if api}


def _other_name(name: Json) -> Cells:
    columns = CHILD_COLUMNS["othername"]
    # As it was typed.
    return dict(zip(columns[1:3], (name["organization_name"].title(), name["code"]), strict=True))


def _practice_location(location: Json) -> Cells:
    cells = _cells(location, ADDRESS_OF_LOCATION)
    return {column: cell.title() if " " in cell else cell for column, cell in cells.items()}


def _endpoint(endpoint: Json) -> Cells:
    return _cells(endpoint, ENDPOINT | ADDRESS_OF_ENDPOINT)


def _sheet(name: str, rows: Iterable[tuple[str, str]]) -> bytes:
    """A workbook of one sheet, all its cells text: as much of the format as its readers need."""
    lines = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in row) + "</row>"
        for row in rows
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}">'
        f'<sheets><sheet name="{name}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, text in parts.items():
            archive.writestr(part, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    return content.getvalue()

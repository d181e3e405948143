"""Small dissemination files for tests, as CMS writes them, and what breaks them."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS, MAIN_COLUMNS

_PERSON = {
    "Entity Type Code": "1",
    "Provider Last Name (Legal Name)": "SMITH",
    "Provider First Name": "ANN",
    "Provider First Line Business Practice Location Address": "1 MAIN ST",
    "Provider Business Practice Location Address City Name": "ATLANTA",
    "Provider Business Practice Location Address State Name": "GA",
    "Provider Business Practice Location Address Postal Code": "301803226",
    "Provider Business Practice Location Address Country Code (If outside U.S.)": "US",
    "Provider Enumeration Date": "05/23/2006",
    "Last Update Date": "07/08/2007",
    "Provider Sex Code": "F",
    "Healthcare Provider Taxonomy Code_1": "207Q00000X",
    "Healthcare Provider Primary Taxonomy Switch_1": "Y",
    "Is Sole Proprietor": "N",
}


def person(npi: int, **cells: str) -> dict[str, str]:
    """A row of the main file; ``city`` and ``last_name`` stand for their columns."""
    given = {
        "city": "Provider Business Practice Location Address City Name",
        "last_name": "Provider Last Name (Legal Name)",
    }
    return {**_PERSON, "NPI": str(npi), **{given.get(name, name): value for name, value in cells.items()}}


def deactivated(npi: int, day: str = "03/04/2020") -> dict[str, str]:
    return {"NPI": str(npi), "NPI Deactivation Date": day}


def csv_of(rows: Iterable[Mapping[str, str]], columns: Iterable[str] = MAIN_COLUMNS) -> bytes:
    names = list(columns)
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return "".join(",".join(f'"{value}"' for value in line) + "\n" for line in lines).encode()


def line_of(row: Mapping[str, str]) -> bytes:
    return csv_of([row]).split(b"\n", 1)[1]


def practice_location(npi: int, city: str) -> dict[str, str]:
    return dict(zip(CHILD_COLUMNS["pl"], [str(npi), "2 SIDE ST", "", city, "GA", "30301", "US"], strict=False))


def monthly_name(day: dt.date) -> str:
    return f"NPPES_Data_Dissemination_{day:%B_%Y}_V2.zip"


def weekly_name(sunday: dt.date) -> str:
    return f"NPPES_Data_Dissemination_{sunday - dt.timedelta(days=6):%m%d%y}_{sunday:%m%d%y}_Weekly_V2.zip"


def make_monthly(folder: Path, day: dt.date, main: bytes, **children: bytes) -> Path:
    return _make(folder / monthly_name(day), f"20050523-{day:%Y%m%d}", main, children)


def make_weekly(folder: Path, sunday: dt.date, main: bytes, **children: bytes) -> Path:
    monday = sunday - dt.timedelta(days=6)
    return _make(folder / weekly_name(sunday), f"{monday:%Y%m%d}-{sunday:%Y%m%d}", main, children)


def _make(path: Path, dates: str, main: bytes, children: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, content in {"npidata": main, **children}.items():
            archive.writestr(f"{kind}_pfile_{dates}.csv", content)
            archive.writestr(f"{kind}_pfile_{dates}_fileheader.csv", content.split(b"\n", 1)[0] + b"\n")
        archive.writestr("NPPES_Data_Dissemination_CodeValues.pdf", b"%PDF")
    return path


def make_report(folder: Path, day: dt.date, rows: Mapping[int, str]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "DeactivatedNPIs"
    sheet.append(["NPPES Deactivated NPI Report", None])
    sheet.append(["NPI", "NPPES Deactivation Date"])
    for npi, date in rows.items():
        sheet.append([str(npi), date])
    content = io.BytesIO()
    book.save(content)
    path = folder / f"NPPES_Deactivated_NPI_Report_{day:%m%d%y}_V2.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"NPPES Deactivated NPI Report {day:%Y%m%d}.xlsx", content.getvalue())
    return path

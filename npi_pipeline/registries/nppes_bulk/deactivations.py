"""The deactivation report: a sheet of the NPIs that are out of service, and since when.

Not here: rows of deactivated NPIs in the other files (``records``).
"""

from __future__ import annotations

import io
import zipfile

import polars as pl

from npi_pipeline.errors import to_install
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.store_schema import in_store_schema

_MAX_UNPACKED_BYTES = 1 << 30
_NPI, _DATE = "NPI", "NPPES Deactivation Date"
_REMEDY = "download it again, or take it away: without it, deactivations are those that the other files tell of"


def deactivated_rows(sheet: bytes, where: str) -> pl.DataFrame:
    """The rows of the report, by NPI, in the columns of ``STORE_SCHEMA``. Raises BulkFileError."""
    cells = _cells(sheet, where)
    names = cells.columns[:2]
    header = cells.with_row_index("row").filter(pl.col(names[0]).str.strip_chars() == _NPI).head(1)
    if header.is_empty() or header[names[1]].item() != _DATE:
        raise BulkFileError(f"{where} has no row with the column names {_NPI!r} and {_DATE!r}: {_REMEDY}")
    below = cells.slice(header["row"].item() + 1).select(pl.col(names[0]).alias("npi"), pl.col(names[1]).alias("date"))
    given = below.filter(pl.any_horizontal(pl.all().str.strip_chars() != ""))
    rows = given.select(
        pl.col("npi").str.strip_chars().str.extract(r"^([12]\d{9})(?:\.0)?$").cast(pl.UInt32),
        pl.coalesce(
            pl.col("date").str.to_date("%m/%d/%Y", strict=False),
            pl.col("date").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False),
        ).alias("deactivated_on"),
    )
    bad = rows.with_row_index().filter(pl.any_horizontal(pl.col("npi", "deactivated_on").is_null()))
    if not bad.is_empty():
        row = given.row(bad["index"][0])
        raise BulkFileError(f"{where} has {bad.height} rows without an NPI and a date, as {row}: {_REMEDY}")
    return in_store_schema(rows.sort("npi", "deactivated_on").unique("npi", keep="last", maintain_order=True))


def _cells(sheet: bytes, where: str) -> pl.DataFrame:
    """All cells as text, with no row taken for names."""
    try:
        import fastexcel
    except ImportError as error:
        raise BulkFileError(
            f"{where} is a sheet, and fastexcel, which reads it, is not installed: {to_install('bulk')}, "
            "or take the report away"
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(sheet)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise BulkFileError(f"{where} unpacks to more than any report of the registry: {_REMEDY}")
        cells = fastexcel.read_excel(sheet).load_sheet(0, header_row=None, dtypes="string").to_polars()
    except (zipfile.BadZipFile, fastexcel.FastExcelError) as error:
        raise BulkFileError(f"{where} is no sheet that can be read ({error}): {_REMEDY}") from error
    if cells.width < 2:  # noqa: PLR2004
        raise BulkFileError(f"{where} has fewer than two columns: {_REMEDY}")
    return cells

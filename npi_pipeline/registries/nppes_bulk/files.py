"""Which dissemination files lie in NPI_BULK_FILES, and which of them make the snapshot of a day.

They are known by the names that CMS gives them: zips as they are downloaded, or the CSVs out of one, with or without a
folder of their own. Not here: what is in a file (``contents``), nor what is made of it (``prepare``).
"""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import enum
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.settings import SettingsError
from npi_pipeline.storage.data_root import DataRoot, StoredFile
from npi_pipeline.storage.open_root import open_data_root

SETTING = "NPI_BULK_FILES"
DOWNLOADS = "https://download.cms.gov/nppes/NPI_Files.html"

_DAY = dt.timedelta(days=1)
# All monthly files say that they begin here: when the registry did.
_FIRST_OF_MONTHLY = dt.date(2005, 5, 23)

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if number}
_MONTHLY_ZIP = re.compile(r"NPPES_Data_Dissemination_([a-z]{3})[a-z]*_(\d{4})(_V\d)?\.zip", re.IGNORECASE)
_WEEKLY_ZIP = re.compile(r"NPPES_Data_Dissemination_(\d{6})_(\d{6})_Weekly(_V\d)?\.zip", re.IGNORECASE)
_REPORT_ZIP = re.compile(r"NPPES_Deactivated_NPI_Report_(\d{6})(_V\d)?\.zip", re.IGNORECASE)
REPORT_SHEET = re.compile(r"NPPES[ _]Deactivated[ _]NPI[ _]Report[ _](\d{8})(_V\d)?\.xlsx", re.IGNORECASE)
CSV_NAME = re.compile(r"(npidata|othername|pl|endpoint)(?:_pfile)?_(\d{8})-(\d{8})(_V\d)?\.csv", re.IGNORECASE)
MAIN = "npidata"


class FileKind(str, enum.Enum):
    """What a dissemination file tells: all providers, those new or changed in a week, or who is out of service.

    Of files of one date, the later kind here is laid on top.
    """

    monthly = "monthly"
    weekly = "weekly"
    deactivations = "deactivations"


_ORDER = list(FileKind)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DisseminationFile:
    """One download of CMS as it lies there.

    ``first`` and ``date`` are the days from and up to which it tells, by its name. The name of a monthly zip has its
    month alone: its ``date`` is the last day that it may have, and ``is_dated`` is False. ``stored`` are its files: a
    zip (or a sheet), or the CSVs out of one. ``version`` is 2 for the files with the longer names of providers.
    """

    name: str
    kind: FileKind
    first: dt.date
    date: dt.date
    stored: tuple[StoredFile, ...]
    version: int = 1
    is_dated: bool = True

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.stored)

    @property
    def is_zip(self) -> bool:
        """Whether it is as it was downloaded."""
        return self.stored[0].path.lower().endswith(".zip")

    @property
    def order(self) -> tuple[dt.date, int]:
        """Files are laid on top of each other in this order."""
        return self.date, _ORDER.index(self.kind)


@dataclasses.dataclass(frozen=True, slots=True)
class FilesOfDay:
    """The files that tell the registry as of a day, in the order in which they are laid on top of each other.

    ``as_of`` is the last day that they tell of. ``missing`` are lines about gaps: files after one are left out.
    """

    files: tuple[DisseminationFile, ...]
    as_of: dt.date
    missing: tuple[str, ...]


def open_bulk_files(place: str) -> DataRoot:
    """The folder or ``s3://`` prefix that NPI_BULK_FILES names. Raises SettingsError."""
    if not place:
        raise SettingsError(
            f"{SETTING} is not set: give the folder or s3://bucket/prefix that holds the dissemination files"
        )
    return open_data_root(place, SETTING, is_written=False)


def dissemination_files(stored: Iterable[StoredFile]) -> list[DisseminationFile]:
    """The dissemination files among ``stored``; other files are none. Of one that lies there twice, the better one.

    A zip is taken before the CSVs out of it, and a second version before the first.
    """
    csvs: dict[tuple[str, str, str], list[StoredFile]] = defaultdict(list)
    found = []
    for file in stored:
        folder, _, name = file.path.rpartition("/")
        if named := CSV_NAME.fullmatch(name):
            csvs[folder, named[2], named[3]].append(file)
        elif known := _known_by_its_name(file, name):
            found.append(known)
    found += [known for files in csvs.values() if (known := _unpacked(files))]
    best = {}
    for known in sorted(found, key=lambda file: (file.version, file.is_zip, file.name)):
        best[known.kind, known.is_dated, known.date] = known
    return sorted(best.values(), key=lambda file: file.order)


def files_of_day(
    found: Sequence[DisseminationFile],
    day: dt.date,
    dated: Callable[[DisseminationFile], DisseminationFile],
    *,
    place: str,
) -> FilesOfDay:
    """Which of the files tell the registry as of ``day``.

    That is the newest monthly file that does not tell of a later day, the weekly ones after it up to the day, and the
    newest deactivation report. ``dated`` looks into a monthly zip for its own date; it is asked about few. What lies
    behind a missing weekly file is left out: of two worlds half of each would be neither. Raises BulkFileError.
    """
    monthly = _newest_monthly(found, day, dated)
    if monthly is None:
        raise BulkFileError(
            f"there is no monthly dissemination file of {day} or before in {place}: download "
            f"NPPES_Data_Dissemination_<Month>_<Year>_V2.zip from {DOWNLOADS} into it, or correct {SETTING}"
        )
    chain, missing = [monthly], []
    weekly_ones = [file for file in found if file.kind is FileKind.weekly and monthly.date < file.date <= day]
    for weekly in weekly_ones:
        if weekly.first > chain[-1].date + _DAY:
            missing.append(
                f"no weekly file from {chain[-1].date + _DAY} to {weekly.first - _DAY} lies in {place}, so "
                f"{weekly.name} and later ones are left out: download what is missing from {DOWNLOADS}"
            )
            break
        chain.append(weekly)
    as_of = chain[-1].date
    reports = [
        file for file in found if file.kind is FileKind.deactivations and file.date <= (as_of if missing else day)
    ]
    return FilesOfDay(tuple(sorted([*chain, *reports[-1:]], key=lambda file: file.order)), as_of, tuple(missing))


def _newest_monthly(
    found: Sequence[DisseminationFile], day: dt.date, dated: Callable[[DisseminationFile], DisseminationFile]
) -> DisseminationFile | None:
    best = None
    for file in reversed([file for file in found if file.kind is FileKind.monthly]):
        if best is not None and file.date <= best.date:
            break
        if file.is_dated and file.date > day:
            continue
        if not file.is_dated and file.date.replace(day=1) > day:
            continue
        candidate = file if file.is_dated else dated(file)
        if candidate.date <= day and (best is None or candidate.order > best.order):
            best = candidate
    return best


def with_dates(file: DisseminationFile, csv_name: str) -> DisseminationFile:
    """``file`` with the dates that the name of the main CSV in it has. Raises BulkFileError when it is another's."""
    named = CSV_NAME.fullmatch(csv_name)
    first, last = (_date(named[2]), _date(named[3])) if named else (None, None)
    if first is None or last is None:
        raise BulkFileError(f"{file.name} holds {csv_name}, a name without dates: download it again from {DOWNLOADS}")
    if file.is_dated and (file.first, file.date) != (first, last):
        raise BulkFileError(
            f"{file.name} holds {csv_name}, which is another file's: give it the name that it was downloaded by"
        )
    return dataclasses.replace(file, first=first, date=last, is_dated=True)


def _known_by_its_name(file: StoredFile, name: str) -> DisseminationFile | None:
    if named := _MONTHLY_ZIP.fullmatch(name):
        month, year = _MONTHS.get(named[1].lower()), int(named[2])
        if month is None or year < dt.MINYEAR:
            return None
        last = dt.date(year, month, calendar.monthrange(year, month)[1])
        return _file(file, FileKind.monthly, _FIRST_OF_MONTHLY, last, named[3], is_dated=False)
    if named := _WEEKLY_ZIP.fullmatch(name):
        return _file(file, FileKind.weekly, _short_date(named[1]), _short_date(named[2]), named[3])
    if named := _REPORT_ZIP.fullmatch(name):
        return _file(file, FileKind.deactivations, _short_date(named[1]), _short_date(named[1]), named[2])
    if named := REPORT_SHEET.fullmatch(name):
        return _file(file, FileKind.deactivations, _date(named[1]), _date(named[1]), named[2])
    return None


def _unpacked(files: list[StoredFile]) -> DisseminationFile | None:
    """The CSVs of one folder and of the same dates. Without the main one they are nothing."""
    names = {file: CSV_NAME.fullmatch(file.path.rpartition("/")[2]) for file in files}
    main = next((file for file, named in names.items() if named and named[1].lower() == MAIN), None)
    named = names[main] if main else None
    if main is None or named is None:
        return None
    first, last = _date(named[2]), _date(named[3])
    kind = FileKind.monthly if first == _FIRST_OF_MONTHLY else FileKind.weekly
    stored = tuple(sorted(files, key=lambda file: (file is not main, file.path)))
    known = _file(main, kind, first, last, named[4])
    return dataclasses.replace(known, stored=stored) if known else None


def _file(
    file: StoredFile,
    kind: FileKind,
    first: dt.date | None,
    last: dt.date | None,
    version: str | None,
    *,
    is_dated: bool = True,
) -> DisseminationFile | None:
    if first is None or last is None or first > last:
        return None
    return DisseminationFile(
        name=file.path,
        kind=kind,
        first=first,
        date=last,
        stored=(file,),
        version=int(version[2:]) if version else 1,
        is_dated=is_dated,
    )


def _short_date(text: str) -> dt.date | None:
    """MMDDYY. The registry began in 2005."""
    return _date(f"20{text[4:]}{text[:4]}")


def _date(text: str) -> dt.date | None:
    """YYYYMMDD."""
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None

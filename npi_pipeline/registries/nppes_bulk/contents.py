"""What is in a dissemination file: its CSVs or its sheet, as streams, and what is said when they cannot be had.

Nothing is unpacked to disk. Not here: which files there are (``files``), nor what the rows mean (``records``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.files import (
    CSV_NAME,
    DOWNLOADS,
    MAIN,
    REPORT_SHEET,
    DisseminationFile,
    with_dates,
)
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.open_file import open_file

SHEET = "sheet"

_HASHED_AT_ONCE = 4 << 20
# The registry's own zips are a tenth of what is in them; a zip of nothing but zeros is a thousandth.
_MAX_RATIO = 200
_MAX_BYTES = 100 << 30
_MAX_SHEET_BYTES = 200 << 20


@dataclasses.dataclass(frozen=True)
class Content:
    """One file out of a dissemination file: its name, its bytes when unpacked, and how it is opened."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


@contextlib.contextmanager
def opened(bulk: DataRoot, file: DisseminationFile) -> Iterator[dict[str, Content]]:
    """The contents of ``file`` by their kind: ``npidata``, ``othername``, ``pl``, ``endpoint``, or ``sheet``.

    Whatever is wrong with the file within this block is a BulkFileError.
    """
    with _said_in_one_line(bulk, file), contextlib.ExitStack() as stack:
        if file.is_zip:
            stream = stack.enter_context(open_file(bulk, file.stored[0].path))
            archive = stack.enter_context(zipfile.ZipFile(stream))
            yield _in_zip(file, archive)
        else:
            yield _loose(bulk, file)


def dated(bulk: DataRoot, file: DisseminationFile) -> DisseminationFile:
    """``file`` with the dates that its content has. Raises BulkFileError."""
    with opened(bulk, file) as contents:
        return with_dates(file, contents[MAIN].name) if MAIN in contents else file


def sha256_of(bulk: DataRoot, file: DisseminationFile) -> str:
    """SHA-256 of a zip or a sheet, in hex; of several CSVs, that of their names and their own digests."""
    with _said_in_one_line(bulk, file):
        digests = [(stored.path.rpartition("/")[2], _sha256(bulk, stored.path)) for stored in file.stored]
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in digests).encode()).hexdigest()


def ensure_unchanged(bulk: DataRoot, file: DisseminationFile) -> None:
    """Raise BulkFileError when ``file`` is not what it was when it was found."""
    folder = file.stored[0].path.rpartition("/")[0]
    if not set(file.stored) <= set(bulk.list(folder)):
        raise BulkFileError(
            f"{bulk.uri(file.name)} was changed while it was read: run it again once it is there whole", retryable=True
        )


def _sha256(bulk: DataRoot, path: str) -> str:
    digest = hashlib.sha256()
    with open_file(bulk, path) as stream:
        while chunk := stream.read(_HASHED_AT_ONCE):
            digest.update(chunk)
    return digest.hexdigest()


def _loose(bulk: DataRoot, file: DisseminationFile) -> dict[str, Content]:
    contents = {}
    for stored in file.stored:
        name = stored.path.rpartition("/")[2]
        contents[_kind_of(name) or SHEET] = Content(name, stored.size, _opener(bulk, stored.path))
    return contents


def _opener(bulk: DataRoot, path: str) -> Callable[[], BinaryIO]:
    return lambda: open_file(bulk, path)


def _in_zip(file: DisseminationFile, archive: zipfile.ZipFile) -> dict[str, Content]:
    contents: dict[str, Content] = {}
    for member in archive.infolist():
        name = member.filename.rpartition("/")[2]
        kind = _kind_of(name)
        if kind is None:
            continue
        if kind in contents:
            raise BulkFileError(
                f"{file.name} holds both {contents[kind].name} and {name}: download it again from {DOWNLOADS}"
            )
        _refuse_bomb(file, member)
        contents[kind] = Content(name, member.file_size, _member_opener(file, archive, member))
    if not contents.keys() & {MAIN, SHEET}:
        raise BulkFileError(
            f"{file.name} holds no npidata_pfile_*.csv and no deactivation report: download it again from {DOWNLOADS}"
        )
    return contents


def _member_opener(
    file: DisseminationFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Callable[[], BinaryIO]:
    def open_member() -> BinaryIO:
        try:
            return cast("BinaryIO", archive.open(member))
        except (NotImplementedError, RuntimeError) as error:
            # zipfile's words for a kind of compression that it does not know, and for a password.
            raise BulkFileError(
                f"{member.filename} in {file.name} cannot be unpacked here ({error}): unpack the zip, and put what is "
                "in it in its place"
            ) from error

    return open_member


def _kind_of(name: str) -> str | None:
    if named := CSV_NAME.fullmatch(name):
        return named[1].lower()
    return SHEET if REPORT_SHEET.fullmatch(name) else None


def _refuse_bomb(file: DisseminationFile, member: zipfile.ZipInfo) -> None:
    """No more than the declared size is ever unpacked (zipfile sees to it), so that size is what is bounded."""
    limit = _MAX_SHEET_BYTES if _kind_of(member.filename.rpartition("/")[2]) == SHEET else _MAX_BYTES
    if member.file_size > min(limit, max(member.compress_size * _MAX_RATIO, _MAX_SHEET_BYTES)):
        raise BulkFileError(
            f"{member.filename} in {file.name} says that it unpacks from {member.compress_size} bytes to "
            f"{member.file_size}, which no file of the registry does: download it again from {DOWNLOADS}"
        )


@contextlib.contextmanager
def _said_in_one_line(bulk: DataRoot, file: DisseminationFile) -> Iterator[None]:
    where = bulk.uri(file.name)
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BulkFileError(
            f"{where} is no whole zip ({str(error) or 'it ends too early'}): wait until its download is through, or "
            f"download it again from {DOWNLOADS}"
        ) from error
    except FileNotFoundError as error:
        raise BulkFileError(f"{where} is gone: put it back, or run it again", retryable=True) from error
    except StorageError:
        raise
    except OSError as error:
        raise BulkFileError(f"{where} cannot be read: {error.strerror or error}; grant access to it") from error

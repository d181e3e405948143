"""The data root as a local folder: whole files by rename, each made durable before it has its name.

Not here: what the files are (``days``, ``manifest``), nor the other kind of root (``s3``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from npi_pipeline.storage.data_root import (
    CHUNK_BYTES,
    DATA_ROOT,
    HeldLock,
    LockedError,
    StorageError,
    StoredFile,
    checked_path,
    unique_name,
)
from npi_pipeline.storage.exchange import exchange

_UNFINISHED = ".unfinished"
_REPLACED = ".replaced"
# A write that was killed leaves its unfinished file; no write takes as long as this without touching it. As the clock
# may jump, a file that is locked is not abandoned whatever its age.
_ABANDONED_SECONDS = 24 * 3600
_FOLDER_TRIES = 3
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR}
_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EACCES: "grant access there",
    errno.EPERM: "grant access there",
    errno.EROFS: "grant access there",
    errno.EISDIR: "a folder lies where a file belongs: move it away",
}


class LocalRoot:
    """Files below the folder ``folder``, which ``setting`` names."""

    def __init__(self, folder: Path, setting: str = DATA_ROOT) -> None:
        self.folder = folder.expanduser().absolute()
        self._setting = setting
        self._swept: set[Path] = set()

    def uri(self, path: str = "") -> str:
        """The absolute file path."""
        return str(self._at(path) if path else self.folder)

    def write(self, path: str, data: bytes) -> None:
        """See DataRoot."""
        with self._new_file(path) as file:
            file.write(data)

    def upload(self, path: str, source: Path) -> None:
        """See DataRoot."""
        with source.open("rb") as content, self._new_file(path) as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)

    def read(self, path: str) -> bytes:
        """See DataRoot."""
        with self._one_line_errors("read", path):
            return self._at(path).read_bytes()

    def chunks(self, path: str) -> Iterator[bytes]:
        """See DataRoot."""
        with self._one_line_errors("read", path), self._at(path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def open(self, path: str) -> BinaryIO:
        """A file for reading at any place. Raises FileNotFoundError."""
        with self._one_line_errors("read", path):
            return self._at(path).open("rb")

    def download(self, path: str, target: Path) -> None:
        """See DataRoot."""
        with self._one_line_errors("read", path):
            shutil.copyfile(self._at(path), target)

    def list(self, prefix: str) -> list[StoredFile]:
        """See DataRoot."""
        with self._one_line_errors("list", prefix):
            return sorted(self._files(self._at(prefix) if prefix else self.folder), key=lambda file: file.path)

    def folders(self, prefix: str) -> Sequence[str]:
        """See DataRoot."""
        with self._one_line_errors("list", prefix):
            try:
                entries = list(os.scandir(self._at(prefix)))
            except (FileNotFoundError, NotADirectoryError):
                return []
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def delete(self, *paths: str) -> None:
        """See DataRoot. A folder in which nothing is left goes too: on S3 there is none then either."""
        for path in paths:
            with self._one_line_errors("delete", path):
                self._at(path).unlink(missing_ok=True)
        for folder in {self._at(path).parent for path in paths}:
            self._remove_empty(folder)

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """See DataRoot. The tag is a digest."""
        content = self.read(path)
        return content, _tag_of(content)

    def write_if(self, path: str, data: bytes, tag: str | None) -> str | None:
        """See DataRoot. The folder's own lock makes it atomic; what follows holds where locks do not (some NFS).

        The new content first gets a name that is bound to the old one, and then its own by a rename, which fails when
        that name is gone. So whoever was paused in between finds it gone, and has written nothing.
        """
        target = self._at(path)
        next_one = target.with_name(f".{target.name}.after-{tag}{_UNFINISHED}")
        with self._one_line_errors("write", path):
            _make_folder(target.parent)
            with _locked(target.parent):
                with self._durable(next_one) as file:
                    file.write(data)
                if _tag_at(target) == tag:
                    with contextlib.suppress(FileNotFoundError):
                        next_one.rename(target)
                        _sync_folder(target.parent)
                next_one.unlink(missing_ok=True)
                return _tag_of(data) if _tag_at(target) == _tag_of(data) else None

    def replace_folder(
        self, folder: str, source: Path, index: str, content: Callable[[str], bytes], held: HeldLock
    ) -> str:
        """See DataRoot. The whole folder is made beside the old one, and the two trade names.

        Where the file system cannot do that in one step, it takes two renames, and for a moment there is no folder.
        """
        target = self._at(folder)
        staging = target.with_name(f".{target.name}.{unique_name()}.staging")
        with self._one_line_errors("write", folder):
            _refuse_what_is_no_folder(target)
            _put_back(target)
            before = _tag_at(target / index)
            left = list(target.parent.glob(f".{target.name}.*"))
            _make_folder(staging)
            try:
                for file in sorted(source.iterdir()):
                    _move(file, staging / file.name)
                with (staging / index).open("xb") as index_file:
                    index_file.write(content(""))
                    index_file.flush()
                    os.fsync(index_file.fileno())
                _sync_folder(staging)
                held.ensure_held()
                _take_the_name(staging, target, index, before)
                _sync_folder(target.parent)
            finally:
                # By now, what was replaced.
                _remove(staging)
            _remove(*left)
        return ""

    @contextlib.contextmanager
    def lock(self, path: str, holder: str) -> Iterator[HeldLock]:
        """See DataRoot. The kernel releases the lock when the process ends, however it ends."""
        import fcntl

        target = self._at(path)
        with self._one_line_errors("lock", path):
            _make_folder(target.parent)
            descriptor = os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(*_holder_in(os.pread(descriptor, 4096, 0))) from error
            since = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"holder": holder, "since": since}).encode(), 0)
            yield _KernelLock()
        finally:
            os.close(descriptor)

    def _at(self, path: str) -> Path:
        return self.folder / checked_path(path)

    def _files(self, folder: Path) -> Iterator[StoredFile]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir():
                yield from self._files(path)
                continue
            # Gone meanwhile: then it is simply not listed.
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat()
                modified = dt.datetime.fromtimestamp(found.st_mtime, dt.timezone.utc)
                yield StoredFile(path.relative_to(self.folder).as_posix(), found.st_size, modified)

    def _remove_empty(self, folder: Path) -> None:
        """Remove ``folder`` and those above it that are empty then, up to the root's own."""
        with contextlib.suppress(OSError):
            while folder != self.folder:
                folder.rmdir()
                folder = folder.parent

    @contextlib.contextmanager
    def _new_file(self, path: str) -> Iterator[BinaryIO]:
        with self._one_line_errors("write", path), self._durable(self._at(path)) as file:
            yield file

    @contextlib.contextmanager
    def _durable(self, target: Path) -> Iterator[BinaryIO]:
        """A file that has the name ``target`` once it is whole."""
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_UNFINISHED}")
        self._sweep(target.parent)
        file = _new_file(unfinished)
        try:
            with file:
                _lock_if_can_be(file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def _sweep(self, folder: Path) -> None:
        """Once a folder, remove what killed writes left in it long ago."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for abandoned in folder.glob(f".*{_UNFINISHED}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - abandoned.stat().st_mtime > _ABANDONED_SECONDS and _is_nobodys(abandoned):
                    abandoned.unlink()

    @contextlib.contextmanager
    def _one_line_errors(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no {self.uri(path)}") from error
        except IsADirectoryError as error:
            if doing == "read":
                raise FileNotFoundError(f"there is no {self.uri(path)}: a folder lies there; move it away") from error
            raise self._one_line(doing, path, error) from error
        except OSError as error:
            raise self._one_line(doing, path, error) from error

    def _one_line(self, doing: str, path: str, error: OSError) -> StorageError:
        remedy = _REMEDIES.get(error.errno or 0, "make room or grant access there")
        in_the_way = error.filename if error.errno in _IN_THE_WAY else None
        if in_the_way is not None and Path(in_the_way).is_symlink():
            remedy = f"{in_the_way} is a symbolic link that leads to no folder; mend it or remove it"
        elif in_the_way is not None:
            remedy = f"{in_the_way} is no folder; move it away"
        return StorageError(
            f"cannot {doing} {self.uri(path)}: {error.strerror or error}; {remedy}, "
            f"or set {self._setting} to another place"
        )


class _KernelLock:
    def ensure_held(self) -> None:
        """The kernel takes a lock from nobody who lives."""


def _holder_in(content: bytes) -> tuple[str, str]:
    try:
        known = json.loads(content)
        return str(known["holder"]), str(known["since"])
    except (ValueError, KeyError, TypeError):
        # Between taking the lock and writing down who did.
        return "another process", "just now"


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, each durable before something is put into it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _new_file(path: Path) -> BinaryIO:
    """A new file for writing, in a folder that is made for it: one that is empty a delete may remove right then."""
    for _ in range(_FOLDER_TRIES):
        with contextlib.suppress(FileNotFoundError):
            _make_folder(path.parent)
            return path.open("xb")
    return path.open("xb")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only one on this machine that is in this block for ``folder``; of other machines too, where it can be."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock_if_can_be(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock_if_can_be(descriptor: int) -> None:
    """Wait for the lock of an open file or folder; some file systems have none (NFS locks no folder)."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_nobodys(path: Path) -> bool:
    """Whether nobody who lives has locked the file."""
    import fcntl

    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # No locks here: its age decides.
            return True
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(source: Path, target: Path) -> None:
    """Move a file durably, across file systems too."""
    shutil.move(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _tag_of(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _tag_at(path: Path) -> str | None:
    """The tag of a file; None when there is none."""
    try:
        return _tag_of(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _refuse_what_is_no_folder(target: Path) -> None:
    if target.is_symlink():
        raise StorageError(
            f"cannot write {target}: it is a symbolic link to {target.readlink()}, and this folder is replaced whole; "
            "remove the link (what it leads to stays), or let NPI_DATA_ROOT be where it leads"
        )
    if target.exists() and not target.is_dir():
        raise StorageError(f"cannot write {target}: a file lies where a folder belongs; move it away")


def _put_back(target: Path) -> None:
    """Give a folder its name again that was moved aside to be replaced, when whoever did it was killed right then."""
    aside = sorted(target.parent.glob(f".{target.name}.*{_REPLACED}")) if not target.exists() else []
    if aside:
        aside[-1].rename(target)


def _take_the_name(staging: Path, target: Path, index: str, before: str | None) -> None:
    """Let ``staging`` be ``target``, whose index has the tag ``before``; what it replaces is then called ``staging``.

    Raises LockedError when it is not the one any more: somebody else is at work in spite of the lock.
    """
    try:
        if not target.exists():
            staging.rename(target)
        elif exchange(staging, target):
            if _tag_at(staging / index) != before:
                exchange(staging, target)
                raise _overtaken()
        else:
            _take_the_name_in_two_steps(staging, target, index, before)
    except OSError as error:
        # What one of them has made or removed is not as the other left it.
        if error.errno in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
            raise _overtaken() from error
        raise


def _overtaken() -> LockedError:
    return LockedError("another run, in spite of the lock", "just now")


def _take_the_name_in_two_steps(staging: Path, target: Path, index: str, before: str | None) -> None:
    replaced = staging.with_name(f"{staging.name}{_REPLACED}")
    target.rename(replaced)
    is_as_before = _tag_at(replaced / index) == before
    try:
        (staging if is_as_before else replaced).rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            replaced.rename(target)
        raise
    if not is_as_before:
        raise _overtaken()
    replaced.rename(staging)

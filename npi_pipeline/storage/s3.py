"""The data root as an ``s3://bucket/prefix``: whole objects by PUT, one client, S3's refusals in one line.

S3 is reached the way every AWS tool is (``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, ...). A refusal that may pass is
repeated by botocore. Not here: locks (``s3_lease``), nor what the objects are (``days``, ``manifest``).
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from npi_pipeline.settings import SettingsError
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
from npi_pipeline.storage.s3_errors import Use, code_of, explain, is_wordless
from npi_pipeline.storage.s3_retryable import is_retryable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

# With botocore's backoff (doubling up to 20 s, with jitter) about a minute of refusals is survived.
_ATTEMPTS = 10
_THREADS = 8
_DELETES_A_REQUEST = 1_000

PERMISSIONS = "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
READ_PERMISSIONS = "s3:GetObject and s3:ListBucket"
# 412: it is another object by now; 409: another write is under way; 404: there is none to replace.
_CONFLICT = 409
_CONDITION_BROKEN = {404, _CONFLICT, 412}
# Whoever holds the lock is overtaken by those that have lost it, each at most once.
_MAX_OVERTAKEN = 3


class S3Root:
    """Objects below ``prefix`` in ``bucket``, which ``setting`` names.

    Making one reads no network; the client is made at first use.
    """

    def __init__(self, bucket: str, prefix: str = "", setting: str = DATA_ROOT, permissions: str = PERMISSIONS) -> None:
        if not bucket:
            raise SettingsError(f"{setting} names no bucket: write it as s3://bucket/prefix")
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.use = Use(setting, permissions)
        self._making_client = threading.Lock()

    @functools.cached_property
    def _made_client(self) -> S3Client:
        from npi_pipeline.storage.s3_client import s3_client

        return s3_client(attempts=_ATTEMPTS, connections=2 * _THREADS)

    @property
    def client(self) -> S3Client:
        """The one client. Its calls may be made from several threads."""
        with self._making_client:
            return self._made_client

    def key(self, path: str) -> str:
        """The object key of ``path``."""
        return f"{self._below}{checked_path(path)}"

    @property
    def _below(self) -> str:
        """What every key begins with."""
        return f"{self.prefix}/" if self.prefix else ""

    def uri(self, path: str = "") -> str:
        """The ``s3://`` address."""
        return f"s3://{self.bucket}/{self.key(path) if path else self.prefix}"

    def write(self, path: str, data: bytes) -> None:
        """See DataRoot."""
        with self._one_line_errors("write", path):
            self.client.put_object(Bucket=self.bucket, Key=self.key(path), Body=data)

    def upload(self, path: str, source: Path) -> None:
        """See DataRoot."""
        with self._one_line_errors("write", path):
            self.client.upload_file(str(source), self.bucket, self.key(path))

    def read(self, path: str) -> bytes:
        """See DataRoot."""
        return self._get(path)[0]

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """See DataRoot. The tag is S3's ETag."""
        content, answer = self._get(path)
        return content, answer["ETag"]

    def link(self, path: str, content_type: str, seconds: int) -> str:
        """An address by which whoever knows it gets an object, for so many seconds: a secret like a password."""
        from npi_pipeline.storage.s3_client import s3_client

        request = {"Bucket": self.bucket, "Key": self.key(path), "ResponseContentType": content_type}
        with self._one_line_errors("link to", path):
            # What is encrypted by a key of AWS's key service is given for this version alone.
            client = s3_client(attempts=_ATTEMPTS, signature="s3v4")
            return client.generate_presigned_url("get_object", Params=request, ExpiresIn=seconds)

    def size_and_tag(self, path: str) -> tuple[int, str]:
        """The size of an object in bytes, and its ETag. Raises FileNotFoundError."""
        with self._one_line_errors("read", path):
            answer = self.client.head_object(Bucket=self.bucket, Key=self.key(path))
            return answer["ContentLength"], answer["ETag"]

    def read_range(self, path: str, start: int, end: int, tag: str) -> bytes:
        """The bytes from ``start`` to before ``end`` of an object that still is the one of ``tag``."""
        return self._get(path, Range=f"bytes={start}-{end - 1}", IfMatch=tag)[0]

    def _get(self, path: str, **of_it: str) -> tuple[bytes, GetObjectOutputTypeDef]:
        from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

        request: Any = {"Bucket": self.bucket, "Key": self.key(path), **of_it}
        with self._one_line_errors("read", path):
            for attempts_left in reversed(range(_ATTEMPTS)):
                answer = self.client.get_object(**request)
                # botocore repeats a request that is refused, not one that breaks off in its body.
                try:
                    return answer["Body"].read(), answer
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if not attempts_left:
                        raise
        raise AssertionError("unreachable")

    def chunks(self, path: str) -> Iterator[bytes]:
        """See DataRoot. By way of an unnamed local file: a transfer that breaks off can then be repeated."""
        with tempfile.TemporaryFile() as content:
            with self._one_line_errors("read", path):
                self.client.download_fileobj(self.bucket, self.key(path), content)
            content.seek(0)
            while chunk := content.read(CHUNK_BYTES):
                yield chunk

    def download(self, path: str, target: Path) -> None:
        """See DataRoot."""
        with self._one_line_errors("read", path):
            self.client.download_file(self.bucket, self.key(path), str(target))

    def list(self, prefix: str) -> list[StoredFile]:
        """See DataRoot."""
        folder = f"{self.key(prefix)}/" if prefix else self._below
        with self._one_line_errors("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=folder)
            objects = [
                StoredFile(item["Key"].removeprefix(self._below), item["Size"], item["LastModified"])
                for page in pages
                for item in page.get("Contents", [])
                # Some tools make empty objects with such names, to show a folder.
                if not item["Key"].endswith("/")
            ]
        return sorted(objects, key=lambda file: file.path)

    def folders(self, prefix: str) -> Sequence[str]:
        """See DataRoot. One request for every thousand folders, however many objects are in them."""
        folder = f"{self.key(prefix)}/"
        with self._one_line_errors("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=folder, Delimiter="/"
            )
            names = [
                common["Prefix"].removeprefix(folder).rstrip("/")
                for page in pages
                for common in page.get("CommonPrefixes", [])
            ]
        return sorted(name for name in names if not name.startswith("."))

    def delete(self, *paths: str) -> None:
        """See DataRoot."""
        from botocore.exceptions import ClientError

        for start in range(0, len(paths), _DELETES_A_REQUEST):
            batch = paths[start : start + _DELETES_A_REQUEST]
            with self._one_line_errors("delete", batch[0]):
                answer = self.client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": [{"Key": self.key(path)} for path in batch], "Quiet": True},
                )
            for error in answer.get("Errors", []):
                # S3 says AccessDenied or InternalError of a key, and nothing else.
                told: Any = {"Error": error}
                refusal = ClientError(told, "DeleteObjects")
                raise StorageError(
                    f"cannot delete s3://{self.bucket}/{error.get('Key')}: {explain(refusal, self.use)}",
                    retryable=error.get("Code") != "AccessDenied",
                )

    def replace_folder(
        self, folder: str, source: Path, index: str, content: Callable[[str], bytes], held: HeldLock
    ) -> str:
        """See DataRoot. S3 has no rename, so the files get a subfolder that no other writer has.

        Whoever writes here reads the index first, then uploads, then lists, then commits on the condition that the
        index is what was read. So what is listed belongs to what the commit supersedes, or to a writer that read the
        index before the commit and can commit no more: it may go. What comes after the listing may be another's that
        is about to be committed, and is left alone.
        """
        index_path = checked_path(f"{folder}/{index}")
        for _ in range(_MAX_OVERTAKEN):
            found = self._found(index_path)
            subfolder = unique_name()
            uploads = {f"{folder}/{subfolder}/{file.name}": file for file in sorted(source.iterdir())}
            in_threads(lambda upload: self.upload(*upload), uploads.items())
            before = {file.path for file in self.list(folder)}
            try:
                # After the index was read: whoever takes the lock over from here on changes the index.
                held.ensure_held()
            except LockedError:
                self._remove_leftovers(uploads)
                raise
            if self.write_if(index_path, content(subfolder), found[1] if found else None):
                self._remove_leftovers(before - uploads.keys() - {index_path})
                return subfolder
            # Somebody who had lost the lock before was faster; ours may be removed by now.
            self._remove_leftovers(uploads)
        raise LockedError("another run that commits again and again", "just now")

    def _remove_leftovers(self, paths: Iterable[str]) -> None:
        """Remove files that no index names. They are in nobody's way: when it fails, the next commit removes them."""
        try:
            self.delete(*sorted(paths))
        except StorageError as error:
            logger.warning("files that nobody reads any more are left behind: %s", error)

    def write_if(self, path: str, data: bytes, tag: str | None) -> str | None:
        """See DataRoot. S3 answers a conditional PUT atomically."""
        from botocore.exceptions import ClientError

        condition: dict[str, Any] = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self._one_line_errors("write", path):
            for _ in range(_ATTEMPTS):
                try:
                    put = self.client.put_object(Bucket=self.bucket, Key=self.key(path), Body=data, **condition)
                    return put["ETag"]
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status not in _CONDITION_BROKEN:
                        raise
                # A repeat of our own PUT, whose first answer was lost, also finds the condition broken.
                found = self._found(path)
                if found is not None and found[0] == data:
                    return found[1]
                # Another write was under way: it came to nothing if the object is still what it was.
                if status != _CONFLICT or (found and found[1]) != tag:
                    return None
        return None

    def _found(self, path: str) -> tuple[bytes, str] | None:
        with contextlib.suppress(FileNotFoundError):
            return self.read_tagged(path)
        return None

    def read_with_age(self, path: str) -> tuple[bytes, str, float]:
        """An object's content, its ETag, and the seconds since it was written by S3's own clock."""
        content, answer = self._get(path)
        now = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return content, answer["ETag"], (now - answer["LastModified"]).total_seconds()

    def lock(self, path: str, holder: str) -> AbstractContextManager[HeldLock]:
        """See DataRoot. A lease: it runs out soon after its holder has died."""
        from npi_pipeline.storage.s3_lease import held_lease

        return held_lease(self, path, holder)

    @contextlib.contextmanager
    def _one_line_errors(self, doing: str, path: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from s3transfer.exceptions import RetriesExceededError

        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, RetriesExceededError, ResponseParserError) as error:
            # The error of an upload or download is wrapped once more.
            cause: Any = error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error
            # A download that always broke off tells why it did so the last time.
            raise self._as_ours(doing, path, getattr(cause, "last_exception", cause)) from error

    def _as_ours(self, doing: str, path: str, error: Exception) -> Exception:
        from botocore.exceptions import ClientError

        if isinstance(error, ClientError) and error.operation_name == "HeadObject" and is_wordless(error):
            error = self._in_words(path, error)
        if isinstance(error, ClientError) and code_of(error) == "NoSuchKey":
            return FileNotFoundError(f"there is no {self.uri(path)}")
        line = f"cannot {doing} {self.uri(path)}: {explain(error, self.use)}"
        return StorageError(line, retryable=is_retryable(error))

    def _in_words(self, path: str, error: ClientError) -> Exception:
        """Why a HEAD, by which a transfer begins, is refused: its answer has no words, so the same is asked by GET."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client.get_object(Bucket=self.bucket, Key=self.key(path))["Body"].close()
        except (ClientError, BotoCoreError) as in_words:
            return in_words
        return error


def in_threads(do: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do it for each item in a few threads. The first error, or an interrupt, stops what has not begun.

    What has begun is waited for: after this nothing is done any more, so that a lock may be let go.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(do, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise

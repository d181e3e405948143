"""From a lake's URL to its root, and what goes wrong there as an error of its sink. Not here: what lies in a lake."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator

from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.settings import SettingsError, SinkUrl
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.open_root import open_data_root

_SETTING = "NPI_DELIVER_TO"


def open_lake(sink: SinkUrl) -> DataRoot:
    """The root of a lake at ``kind:///absolute/folder``, ``kind://relative/folder`` or ``kind+s3://bucket/prefix``.

    Raises SettingsError for any other URL, without a word of it: it may hold a password.
    """
    parts = urllib.parse.urlsplit(sink.url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"{_SETTING} cannot be used: the URL of the sink {sink.name} holds more than a folder or a bucket and a "
            "prefix; S3 is reached as every AWS tool does (AWS_PROFILE, AWS_ENDPOINT_URL_S3)"
        )
    address = urllib.parse.unquote(parts.netloc + parts.path)
    if not address.strip("/"):
        raise SettingsError(
            f"{_SETTING} cannot be used: the URL of the sink {sink.name} names no folder or bucket; write it like "
            f"{sink.scheme}://{'bucket/prefix' if sink.scheme.endswith('+s3') else '/folder'}"
        )
    return open_data_root(f"s3://{address}" if sink.scheme.endswith("+s3") else address, _SETTING)


@contextlib.contextmanager
def as_error_of(name: str) -> Iterator[None]:
    """Turn the errors of the root of the sink ``name`` into DeliveryErrors."""
    try:
        yield
    except StorageError as error:
        raise DeliveryError(f"the sink {name}: {error}", retryable=error.retryable) from error

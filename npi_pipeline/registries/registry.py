"""A registry: the format that it speaks and the URL at which it is asked.

Not here: how its answers are judged (a module for each format), how it is asked (``http_fetch``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import urllib.parse

from npi_pipeline.registries import FORMATS, RegistryFormat
from npi_pipeline.settings import RegistrySettings, SettingsError, usable_url

PLACEHOLDER = "{npi}"
# Enough to tell the paths of one host apart.
_DIGEST_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class Registry:
    """Whom the fetch asks. ``url`` is of one lookup, with ``{npi}`` where the NPI goes.

    Raises SettingsError when the URL cannot be used.
    """

    format: RegistryFormat
    url: str

    def __post_init__(self) -> None:
        try:
            usable_url(self.url)
        except ValueError as error:
            raise SettingsError(f"NPI_REGISTRY_URL cannot be used: {error}") from None
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or PLACEHOLDER not in parts.path + parts.query:
            raise SettingsError(
                f"NPI_REGISTRY_URL: the URL of the registry at {self.host or 'no host'} cannot be used; "
                f"it must be http(s)://host/... with {PLACEHOLDER} in its path or query"
            )

    @classmethod
    def from_settings(cls, settings: RegistrySettings) -> Registry:
        """The registry that the settings name. Raises SettingsError for a missing URL."""
        format_ = FORMATS[settings.registry_format.value]
        if settings.is_bulk:
            raise SettingsError(f"the registry format {format_.name} has no URL: nobody is asked, its files are read")
        url = settings.registry_url or format_.default_url
        if not url:
            raise SettingsError(f"the registry format {format_.name} has no public URL; set NPI_REGISTRY_URL")
        return cls(format=format_, url=url)

    @property
    def identity(self) -> str:
        """What tells its answers from another registry's and is written down with them: it holds no secret.

        Format and host can be read. Of the path, in which there may be a key, it has a digest; of the query, which may
        hold a key that is renewed now and then, nothing.
        """
        path = urllib.parse.urlsplit(self.url).path
        digest = hashlib.sha256(f"{self.host}{path}".encode()).hexdigest()
        return f"{self.format.name} {self.host} {digest[:_DIGEST_DIGITS]}"

    @property
    def host(self) -> str:
        """Host and port, for messages: the rest of the URL may hold a key."""
        return urllib.parse.urlsplit(self.url).netloc.rpartition("@")[2]


def format_of(identity: str) -> RegistryFormat | None:
    """The format of the registry with this ``identity``; None when there is no such format any more."""
    return FORMATS.get(identity.partition(" ")[0])

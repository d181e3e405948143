"""Where published days are delivered to. Not here: the sinks (``delivery``), and which schemes there are."""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from pydantic import Field, field_validator

from npi_pipeline.settings.base import SettingsGroup

# A comma within a URL (several brokers) is not followed by the beginning of another.
_BETWEEN_SINKS = re.compile(r"\s*,\s*(?=(?:[^\s,:/=@]+=)?[A-Za-z][A-Za-z0-9+.-]*://)")
_NAMED = re.compile(r"(?:(?P<name>[^\s,:/=@]+)=)?(?P<url>(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://\S*)")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


class SinkUrl(NamedTuple):
    """A sink by its name, its URL's scheme, and the URL, which may hold a password."""

    name: str
    scheme: str
    url: str


class DeliverySettings(SettingsGroup):
    """Where published days are delivered to."""

    deliver_to: str = Field(
        default="",
        description="The sinks to which each published day is delivered, by URL, with commas between them and a name "
        "before each if you like: `warehouse=postgresql://user:password@host/db,lake=delta+s3://bucket/npi`. "
        "See docs/deliveries.md for the schemes. Empty: none.",
        json_schema_extra={"secret": True},
    )

    @field_validator("deliver_to")
    @classmethod
    def _sinks_are_told_apart(cls, value: str) -> str:
        sink_urls(value)
        return value

    @property
    def sinks(self) -> tuple[SinkUrl, ...]:
        """The sinks, in their order."""
        return sink_urls(self.deliver_to)


def sink_urls(text: str) -> tuple[SinkUrl, ...]:
    """The sinks that ``text`` names. Raises ValueError, without a word of a URL: it may hold a password."""
    sinks: list[SinkUrl] = []
    for number, part in enumerate(_BETWEEN_SINKS.split(text) if text else [], start=1):
        found = _NAMED.fullmatch(part)
        if found is None:
            raise ValueError(
                f"sink {number} is no URL; write it like name=scheme://host/path, with %20 for a blank and %2C for a "
                "comma in a password"
            )
        scheme = found["scheme"].lower()
        name = found["name"] or re.sub(r"[^a-z0-9]+", "_", scheme)
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name of sink {number} must be small letters, digits and _, beginning with a letter")
        if name in {sink.name for sink in sinks}:
            raise ValueError(f"two sinks are called {name}; give each a name of its own: name=scheme://...")
        try:
            _ = urllib.parse.urlsplit(found["url"]).hostname
        except ValueError:
            # Not chained: the error names the URL.
            raise ValueError(f"the URL of sink {name} cannot be read; write [ ] in a password as %5B %5D") from None
        sinks.append(SinkUrl(name, scheme, found["url"]))
    return tuple(sinks)

"""Settings for a person: values with secrets left out, bounds, and the table of docs/settings.md."""

from __future__ import annotations

import enum
import urllib.parse

from pydantic.fields import FieldInfo


def is_secret(field: FieldInfo) -> bool:
    """Whether the setting's value is nobody's to see: it is not printed, not even when it cannot be used."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def as_shown(field: FieldInfo, value: object) -> str:
    """A value as anybody may see it: of a secret no more than the host, where it is a URL that a request is made to."""
    text = as_text(value)
    if not text or not is_secret(field):
        return text
    # In URLs of another kind a token may stand where the host does.
    host = urllib.parse.urlsplit(text).hostname if text.startswith(("http://", "https://")) else None
    return f"(set, at {host}; the rest is not shown)" if host else "(set; not shown)"


def as_text(value: object) -> str:
    """A value as one would write it in the environment."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that the setting may have, where it is one of a few; none otherwise."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return tuple(as_text(value) for value in annotation)
    return ()


def bounds(field: FieldInfo) -> str:
    """The bounds of a number in brackets, with a blank before them; empty for a setting that has none."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f" ({', '.join(limits)})" if limits else ""

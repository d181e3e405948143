"""JSON Schemas of the messages' values, made from the declared columns.

``python -m npi_pipeline.delivery.kafka.json_schemas`` writes them to ``docs/schemas``, for readers in any language.
A later release may add a field, and takes none away.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from npi_pipeline.changes.write_changes import COLUMNS
from npi_pipeline.delivery.sink import Receipt
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.schema.columns import LEADING, TRAILING, Field, FieldType, TableLayout
from npi_pipeline.schema.json_paths import STATES, UNKNOWN_FIELDS, UNRECOGNISED_STATES

FOLDER = Path("docs/schemas")

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Mapping[FieldType, dict[str, Any]] = {
    FieldType.text: {"type": ["string", "null"]},
    FieldType.boolean: {"type": ["boolean", "null"]},
    FieldType.date: {"type": ["string", "null"], "format": "date"},
    FieldType.epoch: {"type": ["integer", "null"]},
}
_NPI = {"type": "string", "description": LEADING[0].description}
_STATES = {
    STATES: f"Codes of the states where the provider practises; none: the state file {NO_STATE}.",
    UNRECOGNISED_STATES: "State texts of practice addresses that are no state of the United States.",
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """By the name of its file, each schema."""
    return {
        "provider.json": _provider(NPPES.layout),
        "provider_record.json": _object(
            "A current provider, of a registry format without a declared schema",
            {"npi": _NPI, "record": {"description": "The record as the registry gave it."}, **_states()},
        ),
        "change.json": _change(),
        "receipt.json": {
            **msgspec.json.schema(Receipt)["$defs"]["Receipt"],
            "$schema": _DIALECT,
            "title": "The receipt of a day that was delivered",
            "description": "Which publication of the day is there, with which changes, and how many rows of each.",
        },
    }


def write_json_schemas(folder: Path) -> None:
    """Write each of them into ``folder``."""
    for name, schema in json_schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


def _provider(layout: TableLayout) -> dict[str, Any]:
    properties: dict[str, Any] = {"npi": _NPI}
    for part in layout.objects_of_columns():
        fields = _fields(part.fields)
        properties |= {part.name: _of_objects(fields)} if part.name else fields
    for lists in layout.lists_of_columns():
        properties[lists.name] = {"type": "array", "items": _of_objects(_fields(lists.fields))}
    beyond = {
        "type": ["string", "null"],
        "contentMediaType": "application/json",
        "description": TRAILING[0].description,
    }
    return _object(
        f"A current provider, of the registry format {NPPES.name}",
        {**properties, **_states(), UNKNOWN_FIELDS: beyond},
    )


def _change() -> dict[str, Any]:
    columns = {
        column.name: {"type": ["string", "null"] if column.name in {"old", "new"} else "string"}
        | {"description": column.description.replace("empty when", "null or empty when")}
        for column in COLUMNS
    }
    day = {"type": "string", "format": "date", "description": "The day on which it is so."}
    return _object(
        "What changed about an NPI",
        {
            "id": {"type": "string", "description": "The same whenever the day is delivered; no other change has it."},
            "day": day,
            **columns,
            "compared_with": {
                "type": ["string", "null"],
                "format": "date",
                "description": "The complete day right before it.",
            },
        },
    )


def _states() -> dict[str, Any]:
    return {
        name: {"type": "array", "items": {"type": "string"}, "description": meaning}
        for name, meaning in _STATES.items()
    }


def _fields(fields: Iterable[Field]) -> dict[str, Any]:
    return {field.name: _TYPES[field.type] | {"description": field.description} for field in fields}


def _of_objects(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _object(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"$schema": _DIALECT, "title": title, **_of_objects(properties)}


if __name__ == "__main__":
    write_json_schemas(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

"""The published JSON Schemas are those of what is sent."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import jsonschema
import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.delivery.kafka.json_schemas import json_schemas, write_json_schemas
from npi_pipeline.delivery.kafka.messages import changes_of, providers_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import Receipt
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import affiliated_practices_answer, npi_numbers
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, make_day
from npi_pipeline_tests.flattened import real_bodies

PUBLISHED = Path(__file__).parents[3] / "docs/schemas"
WORLD = World(npis=20, days=2)


def test_the_published_ones_are_those_that_the_code_gives(tmp_path: Path) -> None:
    write_json_schemas(tmp_path)
    kept = {path.name: path.read_text() for path in PUBLISHED.iterdir()}
    assert kept == {path.name: path.read_text() for path in tmp_path.iterdir()}, (
        "run `python -m npi_pipeline.delivery.kafka.json_schemas`"
    )


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


def test_what_is_sent_is_as_they_say_and_has_no_field_that_they_lack(root: LocalRoot) -> None:
    validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in json_schemas().items()}
    first, second = WORLD.days
    make_day(root, first, {**WORLD.of_day[first], **real_bodies()})
    make_day(root, second, WORLD.of_day[second])
    sent = [("provider.json", value) for _, value in providers_of(open_published_day(root, FILES, first))]
    published = open_published_day(root, FILES, second)
    sent += [("change.json", value) for _, value in changes_of(published)]
    sent += [("receipt.json", Receipt.of(published, {"providers": 1}).to_json())]
    assert len(sent) > 100
    for name, value in sent:
        content = json.loads(value)
        validators[name].validate(content)
        assert _fields(content) <= set(_properties(validators[name].schema)), name


def test_a_record_without_declared_columns_is_as_its_schema_says(root: LocalRoot) -> None:
    (day,) = WORLD.days[:1]
    answers = {npi: affiliated_practices_answer(npi).decode() for npi in sorted(npi_numbers(20))}
    complete(root, day, answers, format_name="affiliated_practices")
    find_changes(root, day, FILES)
    validator = jsonschema.Draft202012Validator(json_schemas()["provider_record.json"])
    for _, value in providers_of(open_published_day(root, FILES, day)):
        validator.validate(json.loads(value))


def _properties(schema: dict[str, object]) -> chain[str]:
    """The names of all fields, at any depth."""
    below = schema.get("properties", {})
    assert isinstance(below, dict)
    items = schema.get("items", {})
    return chain(below, *map(_properties, (*below.values(), *([items] if items else []))))


def _fields(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_fields, value.values())) - {"providers"}
    return set().union(*map(_fields, value)) if isinstance(value, list) else set()

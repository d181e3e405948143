"""The columns of the store."""

from __future__ import annotations

import json

from npi_pipeline.providers.declared import read_declared
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS, STORE_SCHEMA


def test_a_record_has_the_columns_and_types_in_which_the_answers_of_the_api_are_read():
    body = json.dumps({"result_count": 1, "results": [{"number": "1003101296"}]})
    of_api = read_declared([body], NPPES.layout, {}).frame.schema
    assert {name: STORE_SCHEMA[name] for name in RECORD_COLUMNS} == dict(of_api)
    assert [*STORE_SCHEMA] == ["npi", "problem", "deactivated_on", *of_api]

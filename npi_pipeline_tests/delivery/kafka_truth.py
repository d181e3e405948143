"""What the topics must hold, computed plainly from what was known, and compared with what a reader finds there."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline_tests.complete_days import Outcomes
from npi_pipeline_tests.delivery.days_to_deliver import FILES, found
from npi_pipeline_tests.delivery.kafka_broker import messages

LISTS = ("taxonomies", "identifiers", "other_names", "practiceLocations", "endpoints")


def assert_holds(broker: str, prefix: str, root: DataRoot, delivered: Mapping[dt.date, Outcomes]) -> None:
    """The topics hold the providers of the newest of the days that were ``delivered``, and the changes of each."""
    newest = max(delivered)
    held = providers(broker, prefix)
    records = found(delivered[newest])
    assert sorted(held) == sorted(records)
    for npi, record in records.items():
        assert as_the_registry_gave_it(held[npi]) == plain(record)
    held_changes = changes(broker, prefix)
    for day in delivered:
        assert sorted(held_changes.pop(day, [])) == sorted(true_changes(root, day)), day
    assert not held_changes


def providers(broker: str, prefix: str) -> dict[str, Any]:
    """By NPI, what a reader of the topic has in the end."""
    values = {message.key(): message.value() for message in messages(broker, f"{prefix}.providers")}
    return {npi.decode(): json.loads(value) for npi, value in values.items() if npi is not None and value is not None}


def changes(broker: str, prefix: str) -> dict[dt.date, list[tuple[Any, ...]]]:
    """By day, the changes that count by the rule of docs/deliveries.md."""
    receipts = {
        message.key(): json.loads(message.value() or b"") for message in messages(broker, f"{prefix}.deliveries")
    }
    counting = {}
    for message in messages(broker, f"{prefix}.changes"):
        headers = {name: value.decode() for name, value in message.headers() or ()}
        receipt = receipts.get(headers["day"].encode())
        identity = (headers["publication"], headers["changes"])
        if receipt and identity == (receipt["manifest_sha256"], receipt["changes_sha256"]):
            change = json.loads(message.value() or b"")
            counting[change["id"]] = change
    by_day: dict[dt.date, list[tuple[Any, ...]]] = {
        dt.date.fromisoformat(receipt["day"]): [] for receipt in receipts.values()
    }
    for change in counting.values():
        names = ("npi", "change", "field", "old", "new", "compared_with")
        row = tuple(change[name] or "" for name in names)
        by_day[dt.date.fromisoformat(change["day"])].append(row)
    return by_day


def true_changes(root: DataRoot, day: dt.date) -> list[tuple[Any, ...]]:
    """The changes as they were kept, whose truth is proven elsewhere."""
    compared_with = read_kept_changes(root, day).compared_with
    other = str(compared_with.day) if compared_with else ""
    published = open_published_day(root, FILES, day)
    return [tuple(cell or "" for cell in (*row, other)) for rows in published.changes() for row in rows.iter_rows()]


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its values as text, its addresses by purpose, and without what is null or empty."""
    addresses = {address["address_purpose"]: address for address in record["addresses"]}
    parts = {name: record.get(name) for name in LISTS}
    whole = {
        "npi": record["number"],
        "basic": record["basic"],
        "location": addresses.get("LOCATION"),
        "mailing": addresses.get("MAILING"),
        **parts,
    }
    return _without_nothing(whole)


def as_the_registry_gave_it(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a value of the topic; what no field of it holds is back in its place."""
    unknown = json.loads(value["unknown_fields"] or "{}")
    more = {path.removeprefix("basic."): held for path, held in unknown.items() if path.startswith("basic.")}
    whole = {
        "npi": value["npi"],
        "basic": value["basic"] | more,
        "location": value["location_address"],
        "mailing": value["mailing_address"],
        **{name: value[name] for name in LISTS},
    }
    return _without_nothing(whole)


def _without_nothing(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: kept for name, below in value.items() if (kept := _without_nothing(below)) not in (None, "", [], {})
        }
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value if isinstance(value, bool) or value is None else str(value)

"""The asset ``provider_changes``: what changed against the complete day right before."""

from typing import Any

import dagster as dg
import polars as pl

from npi_pipeline.changes.find_changes import FoundChanges, find_changes
from npi_pipeline.changes.write_changes import COLUMNS
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, one_line_failures, table
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.pictures import INLINE_CHARACTERS
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.orchestration.table_io import TABLES
from npi_pipeline.storage.data_root import DataRoot

_SHOWN_FIELDS = 10
_SUMMARY_FIELDS = 5
_SHOWN_NAME = 60
_NOT_COMPARED = "not compared: the two days were recorded in different registry formats"

DESCRIPTION = """What changed against the complete day right before: NPIs that joined or left the list, outcomes that
changed (deactivated!), and every field that changed, with its old and new value, as one CSV.

It has a row for each change: `npi`, `change` (`joined`, `left`, `outcome` or `field`), `field` (the column of the state
files), `old` and `new`. A day without changes is the header alone, and so is the first day, which has nothing before
it. Days that are not complete are skipped: `compared_with` and `days_apart` say which day it was. So is a day that
was recorded anew but not published anew, until its run is finished: `skipped` names it.

When a day is run late or again, the changes of the complete day after it are found anew with it."""


def provider_changes_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        deps=["state_files"],
        group_name=GROUP,
        owners=OWNERS,
        io_manager_key=TABLES,
        kinds={"polars", "csv"},
        description=DESCRIPTION,
    )
    def provider_changes(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        root = day_storage.open()
        with one_line_failures():
            found, of_next_day = find_changes(root, day_of(context), day_storage)
        context.log.info(f"{_line(found)}{'; left as they are' if found.is_unchanged else ''}")
        if found.problem_of_next_day:
            context.log.warning(f"the changes of the next complete day are as before: {found.problem_of_next_day}")
        if of_next_day:
            context.log.info(f"found anew, since they were against another state: {_line(of_next_day)}")
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=context.asset_key,
                    partition=of_next_day.kept.day.isoformat(),
                    metadata=_metadata(root, of_next_day),
                )
            )
        return dg.MaterializeResult(metadata=_metadata(root, found))

    return provider_changes


def _line(found: FoundChanges) -> str:
    """The changes of a day on one line."""
    kept, apart = found.kept, found.days_apart
    anew = f"; {_recorded_anew(found)}" if found.recorded_anew else ""
    if kept.compared_with is None:
        return f"changes of {kept.day}: there is no complete day before it to compare with{anew}"
    gap = "" if apart == 1 else f", {apart} days before (those between are not complete)"
    counts = {name: f"{count:,}" for name, count in kept.counts.items()}
    fields = f"{counts['providers_changed']} with changed fields ({counts['fields_changed']} fields)"
    return (
        f"changes of {kept.day} against {kept.compared_with.day}{gap}: "
        f"{counts['joined']} joined, {counts['left']} left, "
        f"{counts['outcomes_changed']} with another outcome ({counts['deactivated']} deactivated), "
        f"{fields if kept.fields_compared else 'fields ' + _NOT_COMPARED}{anew}"
    )


def _recorded_anew(found: FoundChanges) -> str:
    """Which days were skipped though they are published, and what to do about them."""
    days = ", ".join(map(str, found.recorded_anew))
    return f"skipped, since recorded anew but not published anew: {days}; run it again, then these are found anew"


def _metadata(root: DataRoot, found: FoundChanges) -> dict[str, Any]:
    kept, changes = found.kept, found.changes
    where = root.uri(kept.path)
    other = kept.compared_with
    return {
        "summary": dg.MetadataValue.md(_summary(found)),
        "dagster/partition_row_count": kept.file.rows,
        "dagster/uri": where,
        "where": dg.MetadataValue.path(where),
        "bytes": kept.file.bytes,
        "compared_with": other.day.isoformat() if other else "no complete day before it",
        **({"days_apart": found.days_apart} if other else {}),
        **({"skipped": "; ".join(kept.skipped)} if kept.skipped else {}),
        **({"problem_of_next_day": found.problem_of_next_day} if found.problem_of_next_day else {}),
        **({} if kept.fields_compared else {"fields": _NOT_COMPARED}),
        **kept.counts,
        **({"outcome_changes": table(_outcome_table(found))} if changes.outcome_changes else {}),
        **({"fields_changed_most": table(_field_table(found))} if changes.fields else {}),
        **({"preview": table(changes.preview)} if kept.file.rows else {}),
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(column.name, column.type.value, column.description) for column in COLUMNS]
        ),
    }


def _summary(found: FoundChanges) -> str:
    """The counts, and the fields that changed for most providers, short enough to stand in the page itself."""
    lines = [_line(found).replace("<", "&lt;")[: INLINE_CHARACTERS // 2]]
    if found.changes.fields:
        lines += ["", "|field|providers|", "|:-|-:|"]
        lines += [f"|`{of.field[:_SHOWN_NAME]}`|{of.providers:,}|" for of in found.changes.fields[:_SUMMARY_FIELDS]]
    return "\n".join(lines)


def _outcome_table(found: FoundChanges) -> pl.DataFrame:
    changes = sorted(found.changes.outcome_changes.items(), key=lambda change: (-change[1], change[0]))
    rows = [(old, new, npis) for (old, new), npis in changes]
    return pl.DataFrame(rows, schema=["from", "to", "NPIs"], orient="row")


def _field_table(found: FoundChanges) -> pl.DataFrame:
    rows = [(of.field, of.providers, of.npi, of.old, of.new) for of in found.changes.fields[:_SHOWN_FIELDS]]
    columns = ["field", "providers", "for example", "old", "new"]
    return pl.DataFrame(rows, schema=columns, orient="row")

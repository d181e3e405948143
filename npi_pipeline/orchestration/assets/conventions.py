"""What the assets have in common: group, owners, retry policy, and how failures, places and tables are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
import polars as pl

from npi_pipeline.errors import PipelineError
from npi_pipeline.schema.columns import Column, ColumnType
from npi_pipeline.storage.data_root import DataRoot, size_of

GROUP = "npi"
OWNERS = ["team:provider-data"]

# S3 is asked again within seconds, and if it stays away the sensor for late lists runs the day again.
S3_RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)

# For a crash or a registry that is down; what an HTTP repetition can mend is repeated inside the fetch.
NETWORK_RETRIES = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)


CANCELLED = "cancelled; outcomes so far are kept, run the day again to go on from there"


class StepInterrupted(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """A step that was cancelled and stays so.

    Dagster 1.13 lets a step's retry policy repeat it when it is cancelled: seconds after Terminate or Ctrl-C it would
    begin again. Errors of Dagster's own pass by the policy, and this one is still the interrupt that ends the run.
    """


@contextlib.contextmanager
def one_line_failures() -> Iterator[None]:
    """What the core knows how to explain becomes a failure with that line; only what may pass is tried again."""
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise StepInterrupted(CANCELLED) from interrupt
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=error.retryable) from error
    except FileNotFoundError as error:
        raise dg.Failure(
            f"{error}: materialise the assets before this one for that day", allow_retries=False
        ) from error


def files_below(root: DataRoot, folder: str) -> dict[str, dg.MetadataValue | int | str]:
    """Where the files of a day are: what an asset that is a folder says of itself first."""
    where = root.uri(folder)
    with one_line_failures():
        size = size_of(root, folder)
    return {"dagster/uri": where, "where": dg.MetadataValue.path(where), "bytes": size}


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The header of the day's state files, as the UI shows it."""
    return dg.TableSchema(columns=[_column(column) for column in columns])


def _column(column: Column) -> dg.TableColumn:
    is_key = column.name == "npi"
    return dg.TableColumn(
        column.name,
        type=ColumnType(column.type).value,
        description=column.description,
        constraints=dg.TableColumnConstraints(nullable=not is_key, unique=is_key),
    )


def table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """A small frame as a table in the UI."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in frame.iter_rows(named=True)
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, _type(dtype)) for name, dtype in frame.schema.items()]),
    )


def counts_table(counts: Mapping[str, int], name: str) -> dg.TableMetadataValue:
    """Counts as a table in the UI, largest first; ``name`` is what is counted."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table(pl.DataFrame({name: [key for key, _ in ordered], "count": [count for _, count in ordered]}))


def _type(dtype: pl.DataType) -> str:
    return "int" if dtype.is_integer() else "float" if dtype.is_float() else "string"


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)

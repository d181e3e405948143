"""The assets ``delivery_<sink>``, one for each sink, and what is proven of them in the sink."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from npi_pipeline.delivery.deliver import Delivery, deliver
from npi_pipeline.delivery.destinations import claims_of, sink_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import CLAIMS, PublicationKey
from npi_pipeline.errors import PipelineError
from npi_pipeline.findings import Finding
from npi_pipeline.orchestration.assets.conventions import OWNERS, one_line_failures
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.settings import SinkUrl

GROUP = "npi_deliveries"
AGAIN = "again"
PUBLICATION = "publication"
"""What the materialisation of a delivery says of itself: the digests of manifest and changes, with ``+`` between."""

# For what passes in seconds. A sink that stays away is asked again by the sensor, after a quarter of an hour at first.
_RETRIES = dg.RetryPolicy(max_retries=1, delay=5, jitter=dg.Jitter.FULL)

_SHOWN_FIELDS = 10

_DESCRIPTION = """The published day in the sink `{name}`: providers, outcomes and changes. The sink itself keeps a
*receipt* of the publication that it holds.

The same publication is delivered once: materialised again, it finds its receipt and does nothing (`again: true` at the
launchpad does it anyway). A day that is published anew replaces what was delivered of it. Days may be delivered in any
order, and a delivery that was killed is put right by the next."""


def as_metadata(key: PublicationKey) -> str:
    """How PUBLICATION is written."""
    return "+".join(key)


def asset_key(name: str) -> dg.AssetKey:
    """The key of the asset of the sink called ``name``."""
    return dg.AssetKey(f"delivery_{name}")


def delivery_asset(sink: SinkUrl, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset of ``sink``, one partition for each of ``days``. The sink is reached when it is materialised."""

    @dg.asset(
        key=asset_key(sink.name),
        partitions_def=days,
        deps=["provider_changes"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={_kind(sink)},
        description=_DESCRIPTION.format(name=sink.name),
        retry_policy=_RETRIES,
        # One at a time: the others would only wait for the sink.
        pool=f"npi_delivery_{sink.name}",
        config_schema={
            AGAIN: dg.Field(
                bool, default_value=False, description="Deliver what the sink's receipt says it holds, too."
            )
        },
    )
    def delivery(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        day = day_of(context)
        again = context.op_execution_context.op_config[AGAIN]
        with one_line_failures():
            target = sink_of(sink)
            done = deliver(day_storage.open(), day_storage, day, target, again=again)
        context.log.info(_line(day, target.name, done))
        if done.without_column:
            context.log.warning(
                f"no column holds {', '.join(done.without_column[:_SHOWN_FIELDS])}: delivered in unknown_fields"
            )
        return dg.MaterializeResult(metadata={"where": target.place, **_metadata(done)})

    return delivery


def delivery_checks(sink: SinkUrl) -> dg.AssetChecksDefinition:
    """What is claimed of a delivery to ``sink``, all of it proven from the sink in one go."""
    claims = claims_of(sink)

    @dg.multi_asset_check(
        name=f"delivery_{sink.name}_checks",
        specs=[dg.AssetCheckSpec(claim, asset=asset_key(sink.name), description=CLAIMS[claim]) for claim in claims],
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext, day_storage: DayStorage) -> Iterator[dg.AssetCheckResult]:
        for day in _days(context, sink.name):
            found = _findings(sink, day_storage, day)
            chosen = {key.name for key in context.selected_asset_check_keys}
            for claim in filter(chosen.__contains__, claims):
                finding = found.get(claim) or Finding(holds=False, line="it cannot be told: see the other checks")
                yield dg.AssetCheckResult(
                    asset_key=asset_key(sink.name),
                    check_name=claim,
                    passed=finding.holds,
                    description=f"{day}: {finding.line}",
                    metadata=dict(finding.figures),
                )

    return checks


def _days(context: dg.AssetCheckExecutionContext, name: str) -> list[dt.date]:
    """The run's day; without one, as when it is run alone from the UI, the newest that was delivered."""
    if context.has_partition_key:
        return [dt.date.fromisoformat(context.partition_key)]
    delivered = context.instance.get_materialized_partitions(asset_key(name))
    return [dt.date.fromisoformat(max(delivered))] if delivered else []


def _findings(sink: SinkUrl, day_storage: DayStorage, day: dt.date) -> dict[str, Finding]:
    try:
        published = open_published_day(day_storage.open(), day_storage, day)
        return dict(sink_of(sink).findings(published))
    except PipelineError as error:
        finding = Finding(holds=False, line=str(error))
        return dict.fromkeys(claims_of(sink), finding)


def _kind(sink: SinkUrl) -> str:
    """As the UI has pictures for it."""
    return {"delta": "deltalake"}.get(kind := sink.scheme.partition("+")[0], kind)


def _line(day: dt.date, name: str, done: Delivery) -> str:
    rows = ", ".join(f"{count:,} {table}" for table, count in done.receipt.rows.items() if count)
    if done.is_unchanged:
        return f"{day} is in {name} already, delivered at {done.receipt.delivered_at}: {rows}"
    return f"{day} is delivered to {name}: {rows}"


def _metadata(done: Delivery) -> dict[str, dg.MetadataValue | str | int | float]:
    receipt = done.receipt
    return {
        PUBLICATION: as_metadata(receipt.key),
        "published_at": dg.MetadataValue.timestamp(receipt.published_at),
        "delivered_at": dg.MetadataValue.timestamp(receipt.delivered_at),
        "seconds": round(done.seconds, 3),
        "dagster/partition_row_count": receipt.rows.get("providers", 0),
        **receipt.rows,
    }

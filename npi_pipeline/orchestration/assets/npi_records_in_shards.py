"""The asset ``npi_records`` in shards: a plan, a step for each shard, and the day sealed when all are whole.

What the steps hand on is nothing: each finds in the data root what the one before left, wherever it runs.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from npi_pipeline.days.shard import Shard
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_records.asking import Asking
from npi_pipeline.npi_records.kept_fetches import keep_fetch
from npi_pipeline.npi_records.shards import plan_shards, record_shard, seal_day
from npi_pipeline.orchestration.assets.conventions import GROUP, NETWORK_RETRIES, OWNERS, one_line_failures
from npi_pipeline.orchestration.assets.npi_records import DESCRIPTION, REGISTRY_POOL, recorded_metadata
from npi_pipeline.orchestration.assets.run_lineage import first_run_id
from npi_pipeline.orchestration.dagster_home import one_day_at_a_time
from npi_pipeline.orchestration.launchpad import launchpad_fields
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, ProviderRegistry
from npi_pipeline.orchestration.table_io import TABLES
from npi_pipeline.providers.flatten_records import pinned_widths
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_of_day
from npi_pipeline.settings import CheckSettings, EngineSettings, FetchSettings

IN_SHARDS = """

The NPIs are asked for in **shards**, contiguous ranges with a step each. A shard that fails is tried again by itself;
"Re-execute from failure" asks only for what the shards that failed still lack, and the day is sealed once all are
whole."""


def npi_records_in_shards_asset(
    days: dg.DailyPartitionsDefinition,
    defaults: FetchSettings,
    checks: CheckSettings,
    engine: EngineSettings,
    *,
    bulk_first: bool = False,
) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``; for the rest see ``npi_records_asset``."""
    upstream = ["npi_list", *(["registry_snapshot"] if bulk_first else [])]

    @dg.op(
        name="plan",
        ins={name: dg.In(dg.Nothing) for name in upstream},
        out=dg.DynamicOut(dg.Nothing),
        config_schema=dict,
        retry_policy=NETWORK_RETRIES,
        pool=REGISTRY_POOL,
    )
    def plan_op(
        context: dg.OpExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage
    ) -> Iterator[dg.DynamicOutput[None]]:
        if not one_day_at_a_time(context.instance, REGISTRY_POOL):
            context.log.warning(
                f"the pool {REGISTRY_POOL} is not one day's at a time: set concurrency.pools.default_limit to 1 and "
                "concurrency.pools.granularity to run in dagster.yaml (see deploy/), else days ask the registry as if "
                "each were alone, or their shards wait for one another"
            )
        with one_line_failures():
            # The launchpad sees to each resource alone; what `providers` would refuse is not fetched first.
            pinned_widths(day_storage, provider_registry.format.layout)
            asking = _asking(context, provider_registry, day_storage)
            plan = plan_shards(
                asking,
                engine.shards,
                at_once=engine.at_once,
                planned_by=_planned_by(context),
                asked_by=first_run_id(context.instance, context.run),
                snapshot=snapshot_of_day(asking.root, asking.day) if bulk_first else None,
            )
        context.log.info(f"{len(plan.shards)} shards, {plan.at_once} at a time")
        for shard in plan.shards:
            yield dg.DynamicOutput(None, mapping_key=f"{shard.first}_{shard.last}")

    @dg.op(
        name="shard",
        ins={"planned": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        config_schema=dict,
        retry_policy=NETWORK_RETRIES,
        pool=REGISTRY_POOL,
    )
    def shard_op(context: dg.OpExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage) -> None:
        first, _, last = (context.get_mapping_key() or "").partition("_")
        with one_line_failures():
            asked = record_shard(
                _asking(context, provider_registry, day_storage), Shard(first, last), planned_by=_planned_by(context)
            )
        context.log.info(f"{asked.npis:,} NPIs were asked for")

    @dg.op(
        name="seal",
        ins={"shards": dg.In(dg.Nothing)},
        out=dg.Out(io_manager_key=TABLES),
        config_schema=dict,
        retry_policy=NETWORK_RETRIES,
        pool=REGISTRY_POOL,
    )
    def seal_op(
        context: dg.OpExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage
    ) -> dg.Output[None]:
        with one_line_failures():
            asking = _asking(context, provider_registry, day_storage)
            recorded = seal_day(asking, planned_by=_planned_by(context))
            keep_fetch(asking.root, asking.day, asking.registry.host, recorded.report)
        metadata = recorded_metadata(context, asking.root, asking.day, asking.registry, recorded, bulk_first=bulk_first)
        return dg.Output(None, metadata=metadata)

    def _asking(context: dg.OpExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage) -> Asking:
        day, root = day_of(context), day_storage.open()
        return Asking(
            root=root,
            day=day,
            npis=kept_npi_list(root, day).npis,
            registry=provider_registry.registry(),
            settings=FetchSettings(**context.op_config),
            checks=checks,
            on_progress=lambda progress: context.log.info(str(progress)),
        )

    @dg.graph_asset(
        name="npi_records",
        partitions_def=days,
        ins={name: dg.AssetIn(dagster_type=dg.Nothing) for name in upstream},
        config=_same_settings_for_each_step(defaults),
        group_name=GROUP,
        owners=OWNERS,
        kinds={"python", "api"},
        description=DESCRIPTION + IN_SHARDS,
    )
    def npi_records(**upstream: Any) -> Any:
        return seal_op(plan_op(**upstream).map(shard_op).collect())

    return npi_records


def _planned_by(context: dg.OpExecutionContext) -> str:
    """Whose plan a step goes by: that of its run, or of the run of which this one is a re-execution."""
    return context.run.root_run_id or context.run.run_id


def _same_settings_for_each_step(defaults: FetchSettings) -> dg.ConfigMapping:
    """The launchpad's fields, as if the asset were one step."""

    def each(settings: dict[str, Any]) -> dict[str, Any]:
        plain = FetchSettings(**settings).model_dump(mode="json")
        return {name: {"config": plain} for name in ("plan", "shard", "seal")}

    return dg.ConfigMapping(config_fn=each, config_schema=launchpad_fields(FetchSettings, defaults))

"""The plan of a day in shards: which there are, whose plan it is, and which of them are whole.

Below ``journal/day={day}/shards`` lie ``plan.json`` and, for each shard that is whole, the report of its asking, named
by the plan and the shard. The plan is the fence: who is at work on a shard goes by the plan that is in force, and
nobody makes another one while somebody is. Not here: what is done with a shard (``shards``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging

import msgspec

from npi_pipeline.days.lock import DayLockedError
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.days.shard import Shard, shard_lock
from npi_pipeline.journal import JournalError
from npi_pipeline.npi_records.asking import Asked
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """What is left to ask for of a day, in ``shards``, of which ``at_once`` are worked on at the same time at most.

    ``name`` is no other plan's; ``planned_by`` is whose plan it is. ``run`` and ``since_run`` are numbers of runs of
    the journal, ``reused`` and ``taken`` count NPIs (see ``asking.Prepared``).
    """

    name: str
    planned_by: str
    shards: tuple[Shard, ...]
    at_once: int
    run: int
    since_run: int | None
    reused: int
    taken: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardReport:
    """How the asking of a shard that is whole went, by its worker's clock."""

    begun: dt.datetime
    ended: dt.datetime
    asked: Asked


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_PLAN = msgspec.json.Decoder(ShardPlan)
_REPORT = msgspec.json.Decoder(ShardReport)


def keep_plan(root: DataRoot, day: dt.date, plan: ShardPlan) -> None:
    """Put ``plan`` in force. The caller holds the day's lock and has withdrawn the one before. Raises StorageError."""
    root.write(_plan_path(day), msgspec.json.encode(plan))


def withdraw_plan(root: DataRoot, day: dt.date) -> None:
    """See to it that nobody is at work on a shard of ``day``, nor begins to be. The caller holds the day's lock.

    Raises DayLockedError when somebody is, StorageError.
    """
    plan = _plan_in_force(root, day)
    if plan is None:
        return
    with contextlib.ExitStack() as locks:
        for shard in plan.shards:
            if _report_of(root, day, plan, shard) is None:
                locks.enter_context(shard_lock(root, day, shard))
        # Last of all what says that there is a plan.
        reports = [file.path for file in root.list(_folder(day)) if file.path != _plan_path(day)]
        root.delete(*reports)
        root.delete(_plan_path(day))


def plan_of(root: DataRoot, day: dt.date, planned_by: str) -> ShardPlan:
    """The plan that is in force. The caller holds the lock of the day, or of one of its shards.

    Raises DayLockedError when it is not that of ``planned_by``, StorageError.
    """
    plan = _plan_in_force(root, day)
    if plan is None or plan.planned_by != planned_by:
        raise DayLockedError(
            f"{day} was begun anew by another run since this one planned its shards: wait until that one ends, and run "
            "the day again if it fails"
        )
    return plan


def keep_report(root: DataRoot, day: dt.date, plan: ShardPlan, shard: Shard, report: ShardReport) -> None:
    """Say that ``shard`` is whole. The caller holds its lock. Raises StorageError."""
    root.write(_report_path(day, plan, shard), msgspec.json.encode(report))


def workers_of(root: DataRoot, day: dt.date, plan: ShardPlan) -> int:
    """How many shards of ``plan`` may be worked on now: as many as are not whole, and no more than at once.

    Raises StorageError.
    """
    whole = len(root.list(f"{_folder(day)}/{plan.name}"))
    return max(1, min(plan.at_once, len(plan.shards) - whole))


def reports_of(root: DataRoot, day: dt.date, plan: ShardPlan) -> list[ShardReport]:
    """The reports of all shards of ``plan``. Raises JournalError when one is not whole yet, StorageError."""
    reports = {shard: _report_of(root, day, plan, shard) for shard in plan.shards}
    missing = [shard.name for shard, report in reports.items() if report is None]
    if missing:
        raise JournalError(
            f"of {day}, {len(missing)} of {len(reports)} shards are not whole, the first is {missing[0]}: run them, or "
            "materialise npi_records for that day again",
            retryable=False,
        )
    return [report for report in reports.values() if report is not None]


def _folder(day: dt.date) -> str:
    return f"{journal_folder(day)}/shards"


def _plan_path(day: dt.date) -> str:
    return f"{_folder(day)}/plan.json"


def _report_path(day: dt.date, plan: ShardPlan, shard: Shard) -> str:
    return f"{_folder(day)}/{plan.name}/{shard.name}.json"


def _plan_in_force(root: DataRoot, day: dt.date) -> ShardPlan | None:
    """One that cannot be understood is nobody's: no shard goes by it."""
    try:
        return _PLAN.decode(root.read(_plan_path(day)))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        logger.warning("%s cannot be understood (%s): it counts for nothing", root.uri(_plan_path(day)), error)
        return None


def _report_of(root: DataRoot, day: dt.date, plan: ShardPlan, shard: Shard) -> ShardReport | None:
    """One that cannot be understood is as good as none: the shard is gone through again."""
    with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
        return _REPORT.decode(root.read(_report_path(day, plan, shard)))
    return None

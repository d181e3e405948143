"""What is used of Dagster's private parts, all of it, each with the reason why no public part serves.

Another release of Dagster may move any of them: nothing else imports them, and a test says which name has moved.
"""

# A scalar of one's own for the launchpad, with bounds: these are what Dagster's own scalars are made of.
from dagster._config.config_type import ConfigScalar, ConfigScalarKind
from dagster._config.errors import PostProcessingError

# Why a run failed, and whether a step failed by itself or was interrupted.
from dagster._core.events import RunFailureReason

# What logs the runs that name no logger: there is no setting for another one.
from dagster._core.execution import context_creation_job

# Which days a backfill still has to submit.
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.execution.plan.objects import ErrorSource

# Whether a pool limits runs or steps.
from dagster._core.instance.config import PoolGranularity

# Which code location a run is of, as `dagster run migrate-repository` writes it.
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.remote_representation.external_data import partition_set_snap_name_for_job_name

# Where the events of a run lie when they are in SQLite: Dagster leaves the file of a run that it deletes.
from dagster._core.storage.event_log import SqliteEventLogStorage

# The tags of a run that goes on from another one's failure, of one that a code location has made, and of how often
# the daemon runs it again.
from dagster._core.storage.tags import ASSET_RESUME_RETRY_TAG, MAX_RETRIES_TAG, REPOSITORY_LABEL_TAG, RESUME_RETRY_TAG

# When a schedule ticked last, by Dagster's own reading of a cron expression.
from dagster._utils.schedules import get_latest_completed_cron_tick

# The error in an event: a package of Dagster's own, not of its public interface.
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "ASSET_RESUME_RETRY_TAG",
    "MAX_RETRIES_TAG",
    "REPOSITORY_LABEL_TAG",
    "RESUME_RETRY_TAG",
    "BulkActionStatus",
    "BulkActionsFilter",
    "ConfigScalar",
    "ConfigScalarKind",
    "ErrorSource",
    "PartitionBackfill",
    "PoolGranularity",
    "PostProcessingError",
    "RegisteredCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RunFailureReason",
    "SerializableErrorInfo",
    "SqliteEventLogStorage",
    "context_creation_job",
    "get_latest_completed_cron_tick",
    "partition_set_snap_name_for_job_name",
]

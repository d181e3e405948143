"""What runs the steps of a day, and in how many shards its NPIs are asked for."""

from __future__ import annotations

import enum
import json

from pydantic import Field, field_validator

from npi_pipeline.settings.base import SettingsGroup


class Engine(str, enum.Enum):
    """What runs the steps of a run that Dagster launches."""

    in_process = "in_process"
    multiprocess = "multiprocess"
    celery = "celery"
    k8s = "k8s"


class EngineSettings(SettingsGroup):
    """What runs the steps of a day."""

    executor: Engine = Field(
        default=Engine.in_process,
        description="What runs the steps of a run: `in_process` one after the other, `multiprocess` several processes, "
        "`celery` and `k8s` other machines, each with its extra. `npi-pipeline run` always runs in its own process.",
    )
    executor_config: str = Field(
        default="",
        description="The executor's own configuration, as JSON in the words of Dagster's documentation, e.g. "
        '`{"broker": "redis://10.0.0.5:6379/0", "backend": "redis://10.0.0.5:6379/0"}` for `celery`.',
        json_schema_extra={"secret": True},
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Contiguous ranges in which the NPIs of a day are asked for, each a step of its own: with another "
        "executor than `in_process` at the same time, and then `NPI_THREADS` and `NPI_REQUESTS_PER_SECOND` are divided "
        "among them.",
    )
    shards_at_once: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="So many shards are asked for at the same time at most: as there are workers. 0: all of them.",
    )

    @field_validator("executor_config")
    @classmethod
    def _config_is_an_object(cls, value: str) -> str:
        try:
            content = json.loads(value or "{}")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON ({error})") from None
        if not isinstance(content, dict):
            raise ValueError('it must be a JSON object, as in {"max_concurrent": 4}')  # noqa: TRY004 - pydantic's way
        return value

    @property
    def at_once(self) -> int:
        """So many shards may be worked on at the same time."""
        if self.executor is Engine.in_process:
            return 1
        return min(self.shards_at_once or self.shards, self.shards)

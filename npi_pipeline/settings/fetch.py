"""How the registry is asked."""

from __future__ import annotations

import enum

from pydantic import Field

from npi_pipeline.settings.base import SettingsGroup


class FetchMode(str, enum.Enum):
    """Which NPIs of the list a run asks the registry for."""

    missing = "missing"
    failed = "failed"
    not_found = "not_found"
    all = "all"


class FetchSettings(SettingsGroup):
    """How the registry is asked. Times are seconds."""

    fetch_mode: FetchMode = Field(
        default=FetchMode.missing,
        description="`missing`: ask for NPIs without a final outcome, or that failed for a retryable reason. "
        "`failed`: for all that failed. `not_found`: for these and for what the registry did not know (`not_found`, "
        "`deactivated`). `all`: for every NPI afresh.",
    )
    reuse_hours: float = Field(
        default=12.0,
        ge=0,
        le=8760,
        description="Answers of another day no older than this are taken over instead of asking again; 0: never.",
    )
    threads: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Most requests in flight at once, one thread each.",
    )
    max_retries: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Repeats allowed for one NPI after its first request. A refusal with 429, or 503 and "
        "`Retry-After`, says nothing about the NPI and is none; nor is a 503 while so many requests fail that it is no "
        "surprise.",
    )
    wait: float = Field(
        default=0.25,
        ge=0,
        le=3600,
        description="First backoff in seconds; it doubles with each repeat, with full jitter, but for failures that "
        "are usual for the registry.",
    )
    max_wait: float = Field(
        default=30.0,
        ge=0,
        le=86400,
        description="Longest backoff in seconds.",
    )
    pre_request_sleep_range: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="Each NPI's first request waits a random time from 0 to this many seconds, in a queue.",
    )
    async_writes: bool = Field(
        default=True,
        description="Write the journal in a thread of its own while the fetch goes on.",
    )
    loop_till_done: bool = Field(
        default=False,
        description="Repeat what failed for retryable reasons without counting repeats, until done or the deadline.",
    )
    requests_per_second: float = Field(
        default=0.0,
        ge=0,
        le=100_000,
        description="Hard cap on requests per second; 0 for none (the limit is then learnt from the registry).",
    )
    connect_timeout: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds to wait for a connection.",
    )
    read_timeout: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="Seconds to wait for the next bytes of an answer.",
    )
    request_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Seconds that one request may take as a whole. One that takes several times as long as answers do "
        "is broken off sooner and asked again, where that has proven right; the last one of an NPI never is.",
    )
    npi_deadline: float = Field(
        default=900.0,
        gt=0,
        le=604_800,
        description="Seconds from an NPI's first request until it is recorded as failed if it still fails. Waits that "
        "the registry asks for (`Retry-After`) do not count, up to as many seconds again.",
    )
    run_deadline: float = Field(
        default=21_600.0,
        gt=0,
        le=604_800,
        description="Seconds until the fetch stops asking and records the rest as failed.",
    )
    down_after: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="Seconds without one usable answer after which the registry counts as down and the fetch ends, "
        "to be resumed later; a longer `Retry-After` of refusals in a row ends it at once.",
    )
    max_body_bytes: int = Field(
        default=8_388_608,
        ge=1024,
        le=1_073_741_824,
        description="Largest answer accepted, in bytes after decompression.",
    )

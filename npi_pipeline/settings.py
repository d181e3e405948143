"""Every setting of the pipeline: its type, bounds, default and description, in one place.

The environment variable, the launchpad field, the command line option and the README's table are all
derived from the models below; nothing else in the package reads ``os.environ`` for a setting.
The rule for names is uniform: the setting ``max_retries`` is the variable ``NPI_MAX_RETRIES``, the option
``--max-retries`` and the launchpad field ``max_retries``.

Not here: what the settings do (see the module that uses them), nor how S3 is reached
(that is set the way every AWS tool is, ``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, ...).
"""

from __future__ import annotations

import datetime as dt
import difflib
import enum
import unicodedata
import urllib.parse
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from npi_pipeline.errors import PipelineError

ENVIRONMENT_PREFIX = "NPI_"


class SettingsError(PipelineError, ValueError):
    """A setting has a value that cannot be used: the setting, the value and the remedy.

    A ValueError too, for of those pydantic makes its own, when a validator of a group of settings raises one.
    """


class FetchMode(str, enum.Enum):
    """Which NPIs of the list a run asks the registry for."""

    missing = "missing"
    failed = "failed"
    not_found = "not_found"
    all = "all"


class FormatName(str, enum.Enum):
    """How a registry's URL and JSON look: the names of ``registries``."""

    nppes = "nppes"
    affiliated_practices = "affiliated_practices"


def usable_url(url: str) -> str:
    """``url``, when a request can be made to it, or when it is empty. Raises ValueError, without a word of the URL.

    It is prepared as it will be for a request: later, what cannot be prepared would be told with all that it holds.
    """
    if not url:
        return url
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    import requests

    try:
        is_whole = bool(urllib.parse.urlsplit(url).hostname)
        requests.Request("GET", url).prepare()
    except ValueError:
        # That of requests is a ValueError too.
        is_whole = False
    if not is_whole:
        # Not chained: the error names the URL.
        raise ValueError(
            "no request can be made to that URL; look at its host and port, and write / ? # @ : in a name or "
            "password as %2F %3F %23 %40 %3A"
        )
    return url


# A day, the next one, and those a week, a month and a year later: a format that tells these apart names the whole date.
_DAYS_TO_TELL_APART = tuple(
    dt.date(*numbers) for numbers in ((2026, 11, 23), (2026, 11, 24), (2026, 11, 30), (2026, 12, 23), (2027, 11, 23))
)


# How like a setting's name another one must be to be taken for a slip of the pen.
_LIKENESS = 0.7


class SettingsGroup(BaseModel):
    """Settings that belong to one part of the pipeline. Immutable; unknown names are refused."""

    # Of a value that is refused, ``one_line`` says what may be said; pydantic's own message would show a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_trimmed_and_can_be_seen(cls, value: object) -> object:
        """A carriage return that a file of variables left behind is taken off; what is in the middle is refused."""
        if not isinstance(value, str):
            return value
        text = value.strip()
        unseen = next((character for character in text if not character.isprintable()), None)
        if unseen is not None:
            name = unicodedata.name(unseen, "a control character")
            raise ValueError(f"it holds a character that cannot be seen (U+{ord(unseen):04X}, {name}); write it anew")
        return text


class ListSettings(SettingsGroup):
    """Where the day's NPI list is."""

    list_bucket: str = Field(
        default="",
        description="S3 bucket that holds the NPI list. Required.",
    )
    list_key: str = Field(
        default="npi_list.txt",
        min_length=1,
        description="S3 key of the NPI list; may hold the day, e.g. `lists/{date:%Y-%m-%d}.txt`. Without it, "
        "a past day has the object's version as of its end (UTC).",
    )
    list_column: str = Field(
        default="",
        description="Which column of the list holds the NPIs: its header, or its position from 1. Empty: found by "
        "header and values; what was not clear is a warning.",
    )
    list_max_bytes: int = Field(
        default=1_073_741_824,
        ge=1024,
        le=17_179_869_184,
        description="Largest list accepted, in bytes. A list is held in memory: about five times its bytes.",
    )
    list_unsigned: bool = Field(
        default=False,
        description="Read the bucket without credentials (a public bucket).",
    )
    list_requester_pays: bool = Field(
        default=False,
        description="Pay for the requests to the bucket (a requester-pays bucket).",
    )

    @field_validator("list_key")
    @classmethod
    def _key_is_a_template_of_the_date(cls, value: str) -> str:
        try:
            value.format(date=dt.date(2026, 1, 1))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"only `{{date:...}}` may stand in braces ({error})") from error
        return value

    @model_validator(mode="after")
    def _who_pays_is_known(self) -> ListSettings:
        if self.list_requester_pays and self.list_unsigned:
            raise ValueError("NPI_LIST_REQUESTER_PAYS takes credentials to pay with: set NPI_LIST_UNSIGNED=false")
        return self

    def key_of(self, day: dt.date) -> str:
        """The key of the list of ``day``."""
        return self.list_key.format(date=day)

    @property
    def key_is_dated(self) -> bool:
        """Whether each day has a key of its own. One that comes again, such as ``{date:%a}.txt``, is not dated."""
        return len({self.key_of(day) for day in _DAYS_TO_TELL_APART}) == len(_DAYS_TO_TELL_APART)


class RegistrySettings(SettingsGroup):
    """Which provider registry answers."""

    registry_format: FormatName = Field(
        default=FormatName.nppes,
        description="How the registry's URL and JSON look: `nppes` or `affiliated_practices`.",
    )
    registry_url: str = Field(
        default="",
        description="URL of one lookup, with `{npi}` where the NPI goes. Empty: the format's own public URL.",
        # It may hold a key.
        json_schema_extra={"secret": True},
    )

    @field_validator("registry_url")
    @classmethod
    def _url_names_the_npi(cls, value: str) -> str:
        if value and "{npi}" not in value:
            raise ValueError("must contain `{npi}` where the NPI goes")
        return usable_url(value)


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


class FileSettings(SettingsGroup):
    """Where a day's files lie and what they are called."""

    data_root: str = Field(
        default="npi-data",
        min_length=1,
        description="Where everything of a day is kept: a folder, or `s3://bucket/prefix`.",
    )
    state_files_dir: str = Field(
        default="state_files",
        pattern=r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+)*$",
        description="Folder of the state files below the data root.",
    )
    file_prefix: str = Field(
        default="npi_data_",
        pattern=r"^([A-Za-z0-9_\-][A-Za-z0-9_.\-]*)?$",
        description="First part of a state file's name.",
    )
    failed_name: str = Field(
        default="Failed",
        pattern=r"^[A-Za-z0-9_\-]{3,}$",
        description="Stands for the state in the name of the file of NPIs that could not be had.",
    )
    date_format: str = Field(
        default="%Y-%m-%d",
        min_length=2,
        description="The day in a state file's name, as `strftime` writes it.",
    )
    escape_formulas: bool = Field(
        default=True,
        description="Put `'` before a cell that a spreadsheet would run as a formula.",
    )
    byte_order_mark: bool = Field(
        default=False,
        description="Begin each CSV with a byte-order mark, by which Excel knows UTF-8 when a file is opened with a "
        "double click. Databases may take it for a part of the first column's name.",
    )
    list_widths: str = Field(
        default="",
        pattern=r"^\s*([^=,\s]+=[0-9]{1,4}\s*(,\s*[^=,\s]+=[0-9]{1,4}\s*)*)?$",
        description="Pins how many items of a list have columns, e.g. `taxonomies=15,identifiers=50`; further items "
        "are kept in `unknown_fields`. Lists not named are as wide as the day's widest record, up to a width that "
        "databases take (see The files).",
    )

    def pinned_widths(self) -> dict[str, int]:
        """``list_widths`` as the number of items by name of the list."""
        pairs = (pair.split("=") for pair in self.list_widths.split(",") if pair.strip())
        return {name.strip(): int(width) for name, width in pairs}

    @field_validator("failed_name")
    @classmethod
    def _name_is_not_taken(cls, value: str) -> str:
        if value == "None":
            raise ValueError("it is the name of the file of providers without a state")
        return value

    @field_validator("date_format")
    @classmethod
    def _format_is_a_safe_file_name(cls, value: str) -> str:
        a, b = (dt.date(2026, 11, day).strftime(value) for day in (23, 24))
        if a == b or a.startswith(".") or any(character in a for character in "/\\\0"):
            raise ValueError("must tell two days apart, hold no slash and begin with no dot")
        return value


class CheckSettings(SettingsGroup):
    """When a day is suspicious."""

    failed_share_limit: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Largest share of the list's NPIs that may end as `failed` before the day is not published.",
    )
    not_found_share_limit: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Largest share of the registry's answers that may be `not_found` or `deactivated`. Above it the "
        "day is believed and published only when the registry still finds NPIs that it found lately. 1: the list is "
        "so, ask no further.",
    )
    not_found_change_limit: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Warn when the share of `not_found`, or of `deactivated`, is by more than this above the median of "
        "recent days.",
    )
    list_change_limit: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Warn when the list's size differs by more than this share from the median of its recent days.",
    )
    invalid_share_limit: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Warn when more than this share of the list's distinct NPIs is invalid.",
    )


class DaySettings(SettingsGroup):
    """Which days exist."""

    start_date: dt.date = Field(
        default=dt.date(2026, 1, 1),
        description="First day (UTC) of the daily partitions.",
    )


class MonitoringSettings(SettingsGroup):
    """Which days are looked after without being asked, when, and who hears of it when one fails."""

    schedule_cron: str = Field(
        default="0 6 * * *",
        min_length=1,
        description="When the daily schedule asks for today and for the days that were missed, as a cron expression.",
    )
    schedule_timezone: str = Field(
        default="UTC",
        description="Time zone of the schedule and of the audit, e.g. `America/New_York`. The days themselves are UTC.",
    )
    catch_up_days: int = Field(
        default=7,
        ge=0,
        le=366,
        description="So many days before today are looked after: made up for when they were missed, and audited.",
    )
    catch_up_tries: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Runs of one day that the schedule lets fail; then it reports the day and leaves it alone.",
    )
    audit_cron: str = Field(
        default="0 18 * * *",
        min_length=1,
        description="When the audit looks whether any of these days is incomplete or failed, as a cron expression.",
    )
    fresh_hours: float = Field(
        default=36.0,
        gt=0,
        le=8784,
        description="Hours after which the newest state files count as stale in the UI; it warns after three quarters.",
    )
    alert_webhook_url: str = Field(
        default="",
        description='Where the line about a failed run is posted, as JSON `{"text": ...}` (Slack and others take it). '
        "Empty: it is logged.",
        json_schema_extra={"secret": True},
    )

    @field_validator("schedule_timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone has that name; write it like `Europe/Berlin`") from error
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _url_is_http(cls, value: str) -> str:
        return usable_url(value)


class Settings(BaseModel):
    """All settings of one deployment, read once by whoever assembles the pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    npi_list: ListSettings = ListSettings()
    registry: RegistrySettings = RegistrySettings()
    fetch: FetchSettings = FetchSettings()
    files: FileSettings = FileSettings()
    checks: CheckSettings = CheckSettings()
    days: DaySettings = DaySettings()
    monitoring: MonitoringSettings = MonitoringSettings()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], /, **overrides: object) -> Settings:
        """Settings from the ``NPI_`` variables of ``environment``; ``overrides`` are by setting name and win.

        Raises SettingsError, on one line, for the first value that cannot be used.
        """
        unknown = set(overrides) - {name for _, name, _ in all_settings()}
        if unknown:
            raise SettingsError(f"no setting is called {', '.join(sorted(unknown))}")
        groups: dict[str, dict[str, object]] = {group: {} for group in cls.model_fields}
        for group, name, _ in all_settings():
            text = environment.get(environment_variable(name), "").strip()
            if name in overrides:
                groups[group][name] = overrides[name]
            elif text:
                groups[group][name] = text
        try:
            return cls.model_validate(groups)
        except ValidationError as error:
            raise SettingsError(one_line(error)) from None


def unknown_variables(environment: Mapping[str, str]) -> str | None:
    """One line about the variables that look like settings and are none, with those that may be meant; None if none do.

    They are ignored and not refused: other programs have ``NPI_`` variables too.
    """
    known = [environment_variable(name) for _, name, _ in all_settings()]
    unknown = sorted(set(filter(_looks_like_a_setting, environment)) - set(known))
    if not unknown:
        return None
    said = (f"{name}{_meant(name, known)}" for name in unknown)
    return f"ignored, for no setting has that name: {', '.join(said)}; `npi-pipeline settings` shows them all"


def _looks_like_a_setting(variable: str) -> bool:
    return variable.upper().startswith(ENVIRONMENT_PREFIX)


def _meant(variable: str, known: list[str]) -> str:
    """The setting that a variable is likely meant to be, in brackets; empty when none is like it."""
    names = [name.removeprefix(ENVIRONMENT_PREFIX) for name in known]
    close = difflib.get_close_matches(variable[len(ENVIRONMENT_PREFIX) :].upper(), names, n=1, cutoff=_LIKENESS)
    return f" ({ENVIRONMENT_PREFIX}{close[0]} is meant?)" if close else ""


def environment_variable(name: str) -> str:
    """The environment variable of the setting ``name``."""
    return ENVIRONMENT_PREFIX + name.upper()


def all_settings() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting as (group, name, field), in the order of the README's table."""
    for group, group_field in Settings.model_fields.items():
        model: Any = group_field.annotation
        for name, field in model.model_fields.items():
            yield group, name, field


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong: the setting, its value and why it cannot be used."""
    first = error.errors()[0]
    reason = str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][-1]) if first["loc"] else ""
    if name not in {known for _, known, _ in all_settings()}:
        # Said of several settings together, by their group or by who uses them: it is a whole line already.
        return reason
    is_secret_one = any(name == known and is_secret(field) for _, known, field in all_settings())
    value = "" if is_secret_one else f"={first['input']!r}"
    return f"{environment_variable(name)}{value} cannot be used: {reason}"


def is_secret(field: FieldInfo) -> bool:
    """Whether the setting's value is nobody's to see: it is not printed, not even when it cannot be used."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def as_shown(field: FieldInfo, value: object) -> str:
    """A value as anybody may see it: of a secret, which is a URL, no more than its host."""
    text = as_text(value)
    if not text or not is_secret(field):
        return text
    return f"(set, at {urllib.parse.urlsplit(text).hostname}; the rest is not shown)"


def settings_table() -> str:
    """The settings as a Markdown table, for the README."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for _, name, field in all_settings():
        default = as_text(field.default)
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{environment_variable(name)}` | {shown} | {field.description}{bounds(field)} |")
    return "\n".join(rows)


def as_text(value: object) -> str:
    """A value as one would write it in the environment."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def bounds(field: FieldInfo) -> str:
    """The bounds of a number in brackets, with a blank before them; empty for a setting that has none."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f" ({', '.join(limits)})" if limits else ""


if __name__ == "__main__":
    print(settings_table())  # noqa: T201 - for whoever updates the README

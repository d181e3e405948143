"""The log of a run on standard error: one short line for what an operator wants to know, or a JSON object for machines.

Not here: what is logged (the assets), nor the UI's own event log.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from typing import Any

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import ErrorSource, context_creation_job
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG
from npi_pipeline.orchestration.monitoring.failures import reasons, why_again
from npi_pipeline.settings import LogFormat


def run_logger(log_format: LogFormat) -> dg.LoggerDefinition:
    """Time, asset and message; Dagster's own events are told only when they are errors.

    To a person the command line tells at its end why a run failed; to machines each failure is told where it happens.
    """
    is_json = log_format is LogFormat.json
    is_told = _is_said_by_an_asset_or_failure if is_json else _is_said_by_an_asset_or_news

    @dg.logger(
        config_schema={"log_level": dg.Field(str, default_value="INFO", description="DEBUG, INFO, WARNING or ERROR.")},
        description="Short lines on standard error.",
    )
    def terminal_logger(context: dg.InitLoggerContext) -> logging.Logger:
        wanted = logging.getLevelName(context.logger_config["log_level"])
        logger = logging.getLogger("npi_pipeline.run")
        # Dagster tells at the lowest level that a step is tried again.
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        handler = _handler(_JsonLines() if is_json else _ShortLines())
        handler.addFilter(lambda record: _level(record) >= wanted and is_told(record))
        logger.handlers = [handler]
        return logger

    return terminal_logger


def log_as_json() -> None:
    """From now on, all that this process logs of a run whose configuration names no logger is JSON, and our own lines.

    Dagster's other handlers (``python_logs`` of ``dagster.yaml``) come besides its coloured lines, and not instead.
    """
    loggers = [(run_logger(LogFormat.json), {"log_level": "INFO"})]
    of_runs: Any = context_creation_job
    of_runs.default_system_loggers = lambda _instance: loggers
    logging.getLogger("npi_pipeline").handlers = [_handler(_JsonLines())]


def _handler(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    return handler


def _is_said_by_an_asset_or_news(record: logging.LogRecord) -> bool:
    """Dagster tells every event of a run; news on a terminal is an error that nobody foresaw, and another try."""
    event = _meta(record).get("dagster_event")
    if event is None:
        # Of a step that is not executed because another failed, Dagster says so at the level of an error.
        return not record.getMessage().endswith("Not executing.")
    if not event.is_step_failure:
        return _is_another_try(record)
    data = event.step_failure_data
    return data.user_failure_data is None and data.error_source is not ErrorSource.INTERRUPT


def _is_said_by_an_asset_or_failure(record: logging.LogRecord) -> bool:
    is_event = _meta(record).get("dagster_event") is not None
    return bool(_why_failed(record)) or _is_another_try(record) or not is_event


def _why_failed(record: logging.LogRecord) -> list[str]:
    event = _meta(record).get("dagster_event")
    return reasons([event]) if event is not None else []


def _is_another_try(record: logging.LogRecord) -> bool:
    event = _meta(record).get("dagster_event")
    return event is not None and event.is_step_up_for_retry


def _level(record: logging.LogRecord) -> int:
    if _is_another_try(record):
        return logging.WARNING
    return logging.ERROR if _why_failed(record) else record.levelno


class _ShortLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        step = _meta(record).get("step_key")
        level = "" if _level(record) <= logging.INFO else f"{logging.getLevelName(_level(record))} "
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{f'{step}: ' if step else ''}{_message(record)}"


class _JsonLines(logging.Formatter):
    """What is known of a line under names of its own. The trace of an error that nobody foresaw is in the UI."""

    def format(self, record: logging.LogRecord) -> str:
        meta = _meta(record)
        told = {
            "time": dt.datetime.fromtimestamp(record.created, dt.timezone.utc).isoformat(timespec="milliseconds"),
            "level": logging.getLevelName(_level(record)),
            "message": "; ".join(_why_failed(record)) or _message(record),
            "job": meta.get("job_name"),
            "run_id": meta.get("run_id"),
            "day": meta.get("job_tags", {}).get(PARTITION_TAG),
            "step": meta.get("step_key"),
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in told.items() if value is not None})


def _message(record: logging.LogRecord) -> str:
    """Dagster puts job, run and step before each message; what was said itself it keeps in ``dagster_meta``."""
    meta = _meta(record)
    if _is_another_try(record):
        return why_again(meta["dagster_event"])
    # An error's trace is in Dagster's own message.
    own = record.getMessage()
    return own if meta.get("dagster_event") else meta.get("orig_message", own)


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "dagster_meta", None) or {}

"""The log of a run on a terminal: one short line for what an operator wants to know.

Not here: what is logged (the assets), nor the UI's own event log.
"""

from __future__ import annotations

import logging
from typing import Any

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import ErrorSource
from npi_pipeline.orchestration.monitoring.failures import why_again


@dg.logger(
    config_schema={"log_level": dg.Field(str, default_value="INFO", description="DEBUG, INFO, WARNING or ERROR.")},
    description="Short lines on standard error.",
)
def terminal_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Time, asset and message; Dagster's own events are told only when they are errors."""
    wanted = logging.getLevelName(context.logger_config["log_level"])
    logger = logging.getLogger("npi_pipeline.run")
    # Dagster tells at the lowest level that a step is tried again.
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers.clear()
    handler = logging.StreamHandler()
    handler.setFormatter(_ShortLines())
    handler.addFilter(lambda record: _level(record) >= wanted and _is_said_by_an_asset_or_news(record))
    logger.addHandler(handler)
    return logger


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


def _is_another_try(record: logging.LogRecord) -> bool:
    event = _meta(record).get("dagster_event")
    return event is not None and event.is_step_up_for_retry


def _level(record: logging.LogRecord) -> int:
    return logging.WARNING if _is_another_try(record) else record.levelno


class _ShortLines(logging.Formatter):
    """Dagster puts job, run and step before each message; what was said itself it keeps in ``dagster_meta``."""

    def format(self, record: logging.LogRecord) -> str:
        meta = _meta(record)
        step = f"{meta['step_key']}: " if meta.get("step_key") else ""
        level = "" if _level(record) <= logging.INFO else f"{logging.getLevelName(_level(record))} "
        if _is_another_try(record):
            message = why_again(meta["dagster_event"])
        else:
            # An error's trace is in Dagster's own message.
            own = record.getMessage()
            message = own if meta.get("dagster_event") else meta.get("orig_message", own)
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{step}{message}"


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "dagster_meta", None) or {}

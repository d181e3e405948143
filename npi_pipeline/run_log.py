"""The log of a run on a terminal: one short line for what an operator wants to know.

Not here: what is logged (the assets), nor the UI's own event log.
"""

from __future__ import annotations

import logging
from typing import Any

import dagster as dg
from dagster._core.execution.plan.objects import ErrorSource


@dg.logger(
    config_schema={"log_level": dg.Field(str, default_value="INFO", description="DEBUG, INFO, WARNING or ERROR.")},
    description="Short lines on standard error.",
)
def terminal_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Time, asset and message; Dagster's own events are told only when they are errors."""
    logger = logging.getLogger("npi_pipeline.run")
    logger.setLevel(context.logger_config["log_level"])
    logger.propagate = False
    logger.handlers.clear()
    handler = logging.StreamHandler()
    handler.setFormatter(_ShortLines())
    handler.addFilter(_is_said_by_an_asset_or_unexpected)
    logger.addHandler(handler)
    return logger


def _is_said_by_an_asset_or_unexpected(record: logging.LogRecord) -> bool:
    """Dagster tells every event of a run; of these only an error that nobody foresaw is news on a terminal."""
    event = _meta(record).get("dagster_event")
    if event is None:
        # Of a step that is not executed because another failed, Dagster says so at the level of an error.
        return not record.getMessage().endswith("Not executing.")
    if not event.is_step_failure:
        return False
    data = event.step_failure_data
    return data.user_failure_data is None and data.error_source is not ErrorSource.INTERRUPT


class _ShortLines(logging.Formatter):
    """Dagster puts job, run and step before each message; what was said itself it keeps in ``dagster_meta``."""

    def format(self, record: logging.LogRecord) -> str:
        meta = _meta(record)
        step = f"{meta['step_key']}: " if meta.get("step_key") else ""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname} "
        # An error's trace is in Dagster's own message.
        message = record.getMessage() if meta.get("dagster_event") else meta.get("orig_message", record.getMessage())
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{step}{message}"


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "dagster_meta", None) or {}

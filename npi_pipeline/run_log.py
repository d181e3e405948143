"""The log of a run on a terminal: one short line for what an operator wants to know.

Not here: what is logged (the assets), nor the UI's own event log.
"""

from __future__ import annotations

import logging

import dagster as dg


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
    logger.addHandler(handler)
    return logger


class _ShortLines(logging.Formatter):
    """Dagster puts job, run and step before each message; what was said itself it keeps in ``dagster_meta``."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key") or ""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname} "
        message = meta.get("orig_message") or record.getMessage()
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{step + ': ' if step else ''}{message}"

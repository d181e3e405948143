"""Telling somebody that a run failed: one line, to the log or to a webhook.

Not here: which runs (``npi_pipeline.orchestration.sensors``) and what the line says of the reason (``failures``).
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Callable

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from npi_pipeline.errors import PipelineError

Alert = Callable[[str], None]
"""Takes a line for a person. Anything may be plugged in: see ``definitions.build_definitions``."""

TIMEOUT_SECONDS = (3.0, 6.0)
"""To connect, and to answer."""

# All together less than 50 seconds: after 60 Dagster ends the sensor's call, and would have it tell of the run again.
# So no pause is longer because a webhook asks for it. What was sent and not answered may have come: it is not repeated.
RETRIES = Retry(
    total=3,
    connect=1,
    read=False,
    backoff_factor=2,
    allowed_methods=None,
    status_forcelist=(429, 500, 502, 503, 504),
    respect_retry_after_header=False,
    raise_on_status=False,
)
"""The repeats of an alert that was refused."""

logger = logging.getLogger(__name__)


class AlertError(PipelineError):
    """The line could not be handed on. One line says to which host and why; never the URL, which is a secret."""


def alert_of(webhook_url: str) -> Alert:
    """The alert that the settings ask for: a webhook when there is a URL, else the log."""
    if not webhook_url:
        return logger.error
    return lambda message: post(webhook_url, message)


def post(webhook_url: str, message: str) -> None:
    """Post ``message`` as JSON ``{"text": ...}``. Raises AlertError when it is not taken."""
    host = urllib.parse.urlsplit(webhook_url).hostname
    with requests.Session() as session:
        adapter = HTTPAdapter(max_retries=RETRIES)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        try:
            answer = session.post(webhook_url, json={"text": message}, timeout=TIMEOUT_SECONDS)
        except requests.ReadTimeout:
            reason = f"no answer within {TIMEOUT_SECONDS[1]:g} s, it may have come all the same"
        except requests.RequestException as error:
            reason = type(error).__name__
        else:
            if answer.ok:
                return
            reason = f"it answers {answer.status_code}"
    # Not chained: an error of requests names the URL.
    raise AlertError(f"the webhook at {host} did not take the alert ({reason}); see NPI_ALERT_WEBHOOK_URL: {message}")

"""Telling somebody that a run failed: one line, to a webhook and the services of apprise, or else to the log.

Not here: which runs (``npi_pipeline.orchestration.sensors``) and what the line says of the reason (``failures``).
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from npi_pipeline.errors import PipelineError, to_install
from npi_pipeline.settings import MonitoringSettings, SettingsError

if TYPE_CHECKING:
    from apprise import NotifyBase

Alert = Callable[[str], None]
"""Takes a line for a person. Anything may be plugged in: see ``definitions.build_definitions``."""
Way: TypeAlias = Callable[[str], "str | None"]
"""Hands the line on to one receiver, and gives why it was not taken; without a word of the URL, which is a secret."""

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
    """The line could not be handed on. One line says to whom and why; never the URL, which is a secret."""


def alert_of(settings: MonitoringSettings) -> Alert:
    """The alert that the settings ask for. Raises SettingsError when its extra is not installed."""
    ways = list(_ways(settings))
    return functools.partial(_tell, ways) if ways else logger.error


def services_not_understood(urls: str) -> list[str]:
    """What is wrong with the URLs of NPI_ALERT_URLS, on a line each. Nothing is sent."""
    return [wrong for number, url in _numbered(urls) if isinstance(wrong := _service_of(number, url), str)]


def _ways(settings: MonitoringSettings) -> Iterator[Way]:
    if settings.alert_webhook_url:
        yield functools.partial(_post, settings.alert_webhook_url)
    if settings.alert_urls and importlib.util.find_spec("apprise") is None:
        raise SettingsError(f"NPI_ALERT_URLS needs apprise, which is not installed: {to_install('alerts')}")
    for number, url in _numbered(settings.alert_urls):
        yield functools.partial(_notify, number, url)


def _tell(ways: list[Way], message: str) -> None:
    """Hand ``message`` on by all ways at once. Raises AlertError when one did not take it; the others have it then."""
    with ThreadPoolExecutor(len(ways)) as threads:
        refusals = [refusal for refusal in threads.map(lambda way: way(message), ways) if refusal]
    if refusals:
        raise AlertError(f"{'; '.join(refusals)}: {message}")


def _post(webhook_url: str, message: str) -> str | None:
    """Post ``message`` as JSON ``{"text": ...}``."""
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
            # An error of requests names the URL.
            reason = type(error).__name__
        else:
            if answer.ok:
                return None
            reason = f"it answers {answer.status_code}"
    return f"the webhook at {host} did not take the alert ({reason}); see NPI_ALERT_WEBHOOK_URL"


def _notify(number: int, url: str, message: str) -> str | None:
    """Send ``message`` to the service of apprise that ``url`` names, the one so ``number``ed."""
    from apprise import NotifyFormat, NotifyType

    service = _service_of(number, url)
    if isinstance(service, str):
        return service
    if service.notify(body=message, notify_type=NotifyType.FAILURE, body_format=NotifyFormat.TEXT):
        return None
    return f"{_named(number, url)} did not take the alert; `apprise -v --body test URL` says why"


def _service_of(number: int, url: str) -> NotifyBase | str:
    """The service that ``url`` names, or what is wrong with it."""
    from apprise import Apprise

    # Its own log has tokens in it, even of a URL that it cannot use.
    logging.getLogger("apprise").disabled = True
    service = Apprise.instantiate(url)
    if service is None:
        return f"{_named(number, url)} is none that apprise can use; write it as apprise's page of that service says"
    return service


def _numbered(urls: str) -> Iterator[tuple[int, str]]:
    return enumerate(urls.split(), start=1)


def _named(number: int, url: str) -> str:
    """The URL without its secrets, which may stand anywhere behind the scheme."""
    return f"URL {number} of NPI_ALERT_URLS ({url.partition(':')[0]}://...)"

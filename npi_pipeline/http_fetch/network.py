"""What the environment says about reaching the registry: by way of which proxy, and whom to trust.

It is read as every tool built on requests reads it (HTTPS_PROXY, ALL_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, ...), once a
fetch and before the first request, so that what cannot work is told once and not by every NPI.

Not here: the requests themselves (``connection``).
"""

from __future__ import annotations

import dataclasses
import http.client
import logging
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3.exceptions import LocationParseError
from urllib3.util.ssl_ import create_urllib3_context

from npi_pipeline.errors import to_install
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import SettingsError

_REQUEST_LINE = '"%s %s %s"'
_DEFAULT_PORTS = {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}


@dataclasses.dataclass(frozen=True)
class Network:
    """How the registry is reached.

    ``proxy`` is the URL of the proxy, if there is one; it may hold a password. The TLS context is shared by all
    clients: to load the bundle of authorities costs more than a hundred requests.
    """

    proxy: str | None
    tls: ssl.SSLContext

    @classmethod
    def from_environment(cls, registry: Registry) -> Network:
        """The network as the environment describes it.

        Raises SettingsError when the proxy cannot be used or the bundle of authorities cannot be read.
        """
        _quiet_urllib3()
        with requests.Session() as session:
            found = session.merge_environment_settings(registry.url, {}, stream=None, verify=None, cert=None)
        verify = found["verify"]
        trusted = Path(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
        return cls(proxy=_proxy_of(registry.url, found["proxies"]), tls=_tls(trusted))


def _quiet_urllib3() -> None:
    """Keep urllib3's own words about single requests out of the log: what went wrong becomes an answer's reason."""
    # They log URLs and request lines, in which there may be a key.
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_is_without_url)
    # It warns of every answer that has a length although it is chunked.
    logging.getLogger("urllib3.response").setLevel(logging.ERROR)


def _is_without_url(record: logging.LogRecord) -> bool:
    return "url" not in str(record.msg) and _REQUEST_LINE not in str(record.msg)


def _proxy_of(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy by way of which ``url`` is reached. Raises SettingsError when no connection to it can even be tried."""
    proxy = (select_proxy(url, proxies) or "").strip()
    if not proxy or _is_reached_directly(url):
        return None
    # As curl takes it; requests takes "localhost" of localhost:3128 for the scheme.
    proxy = proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
    try:
        request = requests.Request("GET", url).prepare()
        HTTPAdapter().get_connection_with_tls_context(request, verify=True, proxies={"all": proxy})
    except (requests.RequestException, LocationParseError, ValueError, TypeError) as error:
        # Only what is not installed is an invalid scheme; what nobody knows is a wrong value.
        is_missing = isinstance(error, requests.exceptions.InvalidSchema)
        remedy = to_install("socks") if is_missing else "write it as http://host:port"
        # What stands before the @ may be a password.
        raise SettingsError(
            f"HTTPS_PROXY, HTTP_PROXY or ALL_PROXY: the proxy {proxy.rpartition('@')[2]} cannot be used; {remedy}"
        ) from error
    return proxy


def _is_reached_directly(url: str) -> bool:
    """Whether NO_PROXY names the host with its port.

    Of an address, and of a port that the URL does not write out, requests itself knows only the form without a port.
    """
    parts = urllib.parse.urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return bool(urllib.request.proxy_bypass(f"{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"))


def _tls(trusted: Path) -> ssl.SSLContext:
    tls = create_urllib3_context()
    try:
        tls.load_verify_locations(**{"capath" if trusted.is_dir() else "cafile": str(trusted)})
    except OSError as error:
        raise SettingsError(
            f"REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE: {trusted} cannot be read as certificates ({error})"
        ) from error
    return tls

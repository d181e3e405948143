"""How the registry is reached: proxies and certificates, as the environment has them, against real proxies."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from npi_pipeline.http_fetch.answer import Signal
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import SettingsError
from npi_pipeline_tests.http_fetch.asking import BODY, NPI, client_of
from npi_pipeline_tests.scripted_server import Play, ScriptedServer, Serve, always, http, securely

GOOD = http("200 OK", body=BODY)
BASIC = "Basic dXNlcjpwQHNz"  # user:p@ss


def tunnel(server: ScriptedServer, connection: socket.socket) -> None:
    """Do what CONNECT asks for: pass bytes on, both ways, until one side ends."""
    server.read_head(connection)
    host, _, port = server.heads[-1].split(b" ")[1].rpartition(b":")
    with socket.create_connection((host.decode(), int(port))) as target:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=pass_on, args=(target, connection), daemon=True).start()
        pass_on(connection, target)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for either in (source, target):
        with contextlib.suppress(OSError):
            either.shutdown(socket.SHUT_RDWR)


def socks(play: Play) -> Play:
    """Speak SOCKS 5 (RFC 1928) so far as a client needs it, and then play."""

    def play_behind(server: ScriptedServer, connection: socket.socket) -> None:
        greeting = connection.recv(65536)
        connection.sendall(b"\x05\x00")
        server.heads.append(greeting + connection.recv(65536))
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        play(server, connection)

    return play_behind


def outcome_at(url: str) -> tuple[Outcome, str | None]:
    with contextlib.closing(client_of(url)) as client:
        verdict = client.ask(NPI).verdict
    return verdict.outcome, verdict.reason


FOUND = (Outcome.found, None)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "form",
    [
        "http://127.0.0.1:{}",
        "127.0.0.1:{}",
        "localhost:{}",
        "//localhost:{}",
        "HTTP://localhost:{}/",
        " http://127.0.0.1:{}\r",
    ],
)
def test_a_proxy_comes_from_the_environment_in_every_usual_form(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, form: str
) -> None:
    proxy = serve(always(GOOD))
    monkeypatch.setenv(variable, form.format(proxy.port))

    assert outcome_at("http://user:secret@registry.example/api/?number={npi}") == FOUND
    head = proxy.heads[0].decode()
    assert head.startswith(f"GET http://registry.example/api/?number={NPI} HTTP/1.1\r\n")
    assert "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in head


@pytest.mark.parametrize("form", ["http://user:p%40ss@127.0.0.1:{}", "user:p%40ss@127.0.0.1:{}"])
def test_a_proxy_is_told_the_name_and_password_in_its_url(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    proxy = serve(always(GOOD))
    monkeypatch.setenv("HTTP_PROXY", form.format(proxy.port))

    assert outcome_at("http://registry.example/{npi}") == FOUND
    assert f"Proxy-Authorization: {BASIC}\r\n" in proxy.heads[0].decode()


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:{}", True),
        ("elsewhere.example, 127.0.0.1:{} ,", True),
        ("127.0.0.0/8", True),
        ("*", True),
        ("127.0.0.1:1", False),
        ("127.0.0.2:{}", False),
        ("elsewhere.example:{}", False),
        ("", False),
    ],
)
def test_no_proxy_names_addresses_with_a_port_or_without(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, no_proxy: str, is_direct: bool
) -> None:
    registry, proxy = serve(always(GOOD)), serve(always(GOOD))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", no_proxy.format(registry.port))

    assert outcome_at(f"http://127.0.0.1:{registry.port}/{{npi}}") == FOUND
    assert (registry.connections, proxy.connections) == ((1, 0) if is_direct else (0, 1))


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        ("http://registry.example:81/{npi}", "registry.example:81", True),
        ("http://registry.example:81/{npi}", "registry.example:82", False),
        ("http://registry.example/{npi}", "registry.example:80", True),
        ("https://registry.example/{npi}", "Registry.Example:443", True),
        ("https://registry.example/{npi}", "registry.example:80", False),
        ("https://registry.example/{npi}", ".example:443", True),
        ("https://user:pw@registry.example:8443/{npi}", "registry.example:8443", True),
        ("http://[::1]:81/{npi}", "[::1]:81", True),
        ("http://[::1]:81/{npi}", "[::1]", True),
        ("http://[::1]:81/{npi}", "::1", True),
        ("http://[::1]:81/{npi}", "[::1]:82", False),
    ],
)
def test_no_proxy_names_hosts_with_a_port_or_without(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, is_direct: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    network = Network.from_environment(Registry(FORMATS["nppes"], url))
    assert network.proxy == (None if is_direct else "http://127.0.0.1:9")


@pytest.mark.parametrize("form", ["socks5h://127.0.0.1:{}", "socks5://127.0.0.1:{}", "SOCKS5H://127.0.0.1:{}"])
def test_a_socks_proxy_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    proxy = serve(socks(always(GOOD)))
    monkeypatch.setenv("ALL_PROXY", form.format(proxy.port))
    monkeypatch.setenv("NO_PROXY", "")
    with contextlib.closing(client_of("http://localhost:81/{npi}")) as client:
        answers = [client.ask(NPI), client.ask(NPI)]

    assert {answer.signal for answer in answers} == {Signal.good}
    # One connection, on which the path is asked for, as of the registry itself.
    assert [head[:4] for head in proxy.heads] == [b"\x05\x01\x00\x05", b"GET ", b"GET "]
    assert proxy.heads[1].startswith(f"GET /{NPI} HTTP/1.1\r\nHost: localhost:81\r\n".encode())
    assert (b"localhost" in proxy.heads[0]) is ("5h" in form.lower())


def test_a_socks_proxy_that_is_not_there_or_refuses_is_a_passing_failure_that_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(server: ScriptedServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x05\xff")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    for port in (closed_port, serve(refuse).port):
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{port}")
        reason = "the SOCKS proxy cannot be used or does not reach the registry"
        assert outcome_at("http://registry.example/{npi}") == (Outcome.failed, reason)


def test_a_socks_proxy_without_support_for_it_is_one_line_before_the_first_request(tmp_path: Path) -> None:
    program = f"""if True:
        import sys
        sys.modules["socks"] = None  # as if it were not installed
        from npi_pipeline.http_fetch.fetch import fetch
        from npi_pipeline.registries import FORMATS
        from npi_pipeline.registries.registry import Registry
        try:
            list(fetch(["{NPI}"], Registry(FORMATS["nppes"], "http://registry.example/{{npi}}")))
        except ValueError as error:
            print(type(error).__name__, error)
    """
    environment = os.environ | {"ALL_PROXY": "socks5://user:secret@127.0.0.1:9", "NO_PROXY": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == (
        "SettingsError HTTPS_PROXY, HTTP_PROXY or ALL_PROXY: the proxy 127.0.0.1:9 cannot be used; "
        "pip install '.[socks]' in the checkout\n"
    )
    assert not done.stderr


@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://user:secret@host:21",
        "http://",
        "http://user:secret@",
        "http://user:secret@host:port",
        "host:99999",
        "socks6://host",
    ],
)
def test_a_proxy_that_cannot_be_one_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY.*http://host:port$") as raised:
        client_of("https://registry.example/{npi}")
    assert "secret" not in str(raised.value)


def test_a_registry_with_tls_is_reached_through_a_tunnel_which_may_be_secure_itself(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    monkeypatch.setenv("NO_PROXY", "")
    registry = serve(securely(tls[0], always(GOOD)))
    for scheme, proxy in (("http", serve(tunnel)), ("https", serve(securely(tls[0], tunnel)))):
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:p%40ss@127.0.0.1:{proxy.port}")
        assert outcome_at(f"https://127.0.0.1:{registry.port}/{{npi}}") == FOUND
        assert f"Proxy-Authorization: {BASIC}\r\n" in proxy.heads[0].decode()
    assert registry.connections == 2


def test_a_secure_proxy_takes_plain_requests_too(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(securely(tls[0], always(GOOD)))
    monkeypatch.setenv("HTTP_PROXY", f"https://127.0.0.1:{proxy.port}")
    assert outcome_at("http://registry.example/{npi}") == (Outcome.failed, "the proxy cannot be used")

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    assert outcome_at("http://registry.example/{npi}") == FOUND


def test_a_request_through_a_secure_tunnel_can_be_broken_off(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Client

    def abort(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        client.abort()
        server.is_closed.wait()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{serve(securely(tls[0], tunnel)).port}")
    registry = serve(securely(tls[0], abort))
    with contextlib.closing(client_of(f"https://127.0.0.1:{registry.port}/{{npi}}")) as client:
        answer = client.ask(NPI)
    assert answer.verdict.reason == "the answer took longer than a request may take"
    assert answer.seconds < 5


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 407 Who?\r\n\r\n", "the proxy refuses to connect: HTTP 407 Proxy Authentication Required"),
        (b"HTTP/1.0 503 No\r\nContent-Length: 0\r\n\r\n", "the proxy refuses to connect: HTTP 503 Service Unavailable"),
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP/1.1"),
    ],
)
def test_a_proxy_that_does_not_connect_is_a_passing_failure_that_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, response: bytes, reason: str
) -> None:
    def refuse(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(response)

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{serve(refuse).port}")
    assert outcome_at("https://registry.example/{npi}") == (Outcome.failed, reason)


def test_tls_certificates_are_verified(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://127.0.0.1:{serve(securely(tls[0], always(http('200 OK', body=BODY)))).port}/{{npi}}"
    answer = client_of(url).ask(NPI)
    assert answer.verdict.retryable
    assert answer.verdict.reason == "TLS: the registry's certificate is not accepted or the handshake failed"

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    assert client_of(url).ask(NPI).verdict.outcome is Outcome.found
    # The certificate is of 127.0.0.1 only.
    answer = client_of(url.replace("127.0.0.1", "localhost")).ask(NPI)
    assert answer.verdict.reason == "TLS: the registry's certificate is not accepted or the handshake failed"


def test_a_bundle_of_authorities_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(SettingsError, match="CURL_CA_BUNDLE: /no/such/bundle"):
        client_of("https://127.0.0.1:9/{npi}")

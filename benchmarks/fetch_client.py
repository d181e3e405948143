"""What a request costs: CPU of the client's process, and requests per second, against the least that Python can do.

    python benchmarks/fetch_client.py [--quick]

`urllib3` is bare: one PoolManager a thread, no timeouts, nothing verified. `client` is the product's client in the
same loop; `fetch` is everything: scheduler, limiter, breaker and outcomes. Interleaved runs; medians, and in brackets
CPU over urllib3's in the same round. Ideal: threads / latency.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import requests
import urllib3

from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry

Ask = Callable[[str], object]


def in_threads(threads: int, npis: list[str], make_ask: Callable[[], Ask]) -> None:
    left = iter(npis)
    lock = threading.Lock()

    def take() -> Iterator[str]:
        while True:
            with lock:
                npi = next(left, None)
            if npi is None:
                return
            yield npi

    def work() -> None:
        ask = make_ask()
        for npi in take():
            ask(npi)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def methods(registry: EmulatedRegistry, threads: int) -> dict[str, Callable[[list[str]], None]]:
    nppes = Registry(FORMATS["nppes"], registry.url)
    judge = nppes.format.judge
    settings = FetchSettings(threads=threads)
    network = Network.from_environment(nppes)

    def make_urllib3() -> Ask:
        pool = urllib3.PoolManager()
        return lambda npi: judge(npi, pool.request("GET", registry.url.format(npi=npi)).data)

    def make_session() -> Ask:
        session = requests.Session()
        return lambda npi: judge(npi, session.get(registry.url.format(npi=npi)).content)

    def make_get() -> Ask:
        return lambda npi: judge(npi, requests.get(registry.url.format(npi=npi)).content)

    def make_client() -> Ask:
        return Client(nppes, settings, network).ask

    def run_fetch(npis: list[str]) -> None:
        for _ in fetch(npis, nppes, settings):
            pass

    return {
        "urllib3": lambda npis: in_threads(threads, npis, make_urllib3),
        "client": lambda npis: in_threads(threads, npis, make_client),
        "fetch": run_fetch,
        "requests.Session": lambda npis: in_threads(threads, npis, make_session),
        "requests.get": lambda npis: in_threads(threads, npis, make_get),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests, two settings, one round")
    arguments = parser.parse_args()
    cases = [(20, 0.0, 0.0), (50, 0.005, 0.0), (50, 0.1, 0.0), (200, 0.1, 0.0), (200, 0.6, 0.0), (200, 0.2, 0.8)]
    rounds, most = (1, 1000) if arguments.quick else (3, 6000)
    for threads, latency, sigma in cases[:2] if arguments.quick else cases:
        npis = list(npi_numbers(int(min(most, threads / latency * 8 if latency else most))))
        with emulated_registry(latency=latency, latency_sigma=sigma) as registry:
            measured: dict[str, list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for name, run in methods(registry, threads).items():
                    cpu, started = time.process_time(), time.monotonic()
                    run(npis)
                    cpu, seconds = time.process_time() - cpu, time.monotonic() - started
                    measured.setdefault(name, []).append((cpu / len(npis), len(npis) / seconds))
        mean = f"{latency * 1000:g} ms" + (f", lognormal tail {sigma:g}" if sigma else "")
        ideal = f", ideal {threads / latency:,.0f}/s" if latency else ""
        print(f"\n{threads} threads, {mean}, {len(npis):,} requests{ideal}\n")
        print("| | CPU µs a request | requests/s |\n|---|---|---|")
        for name, results in measured.items():
            ratios = [cpu / least for (cpu, _), (least, _) in zip(results, measured["urllib3"], strict=True)]
            cpu, rate = (statistics.median(column) for column in zip(*results, strict=True))
            print(f"| {name} | {cpu * 1e6:,.0f} ({statistics.median(ratios):.2f}) | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

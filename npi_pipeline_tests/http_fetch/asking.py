"""Asking about one NPI with the product's client."""

from __future__ import annotations

import contextlib

from npi_pipeline.http_fetch.answer import Answer
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import answer as answer_about
from npi_pipeline.testing.providers import npi_numbers, outcome_of

NPI = next(npi for npi in npi_numbers(100) if outcome_of(npi) is Outcome.found)
BODY = answer_about(NPI)


def client_of(url: str, **settings: float) -> Client:
    """A client of the registry at ``url``, as the environment lets it reach it."""
    registry = Registry(FORMATS["nppes"], url)
    return Client(registry, FetchSettings.model_validate(settings), Network.from_environment(registry))


def ask(port: int, **settings: float) -> Answer:
    """What becomes of one request to the registry at a port of this machine."""
    with contextlib.closing(client_of(f"http://127.0.0.1:{port}/api/?number={{npi}}", **settings)) as client:
        return client.ask(NPI)

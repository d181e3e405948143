"""A few NPIs looked up by hand, as in a notebook. Not here: keeping what comes of it (``npi_records``)."""

from __future__ import annotations

from collections.abc import Iterable

from npi_pipeline import clock
from npi_pipeline.check_digit import why_invalid
from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings, Settings


def lookup(
    npis: str | Iterable[str],
    registry: str = "nppes",
    url: str | None = None,
    *,
    settings: FetchSettings | None = None,
) -> list[NpiOutcome]:
    """The outcomes of one NPI or of some, each distinct one once, in the order given.

    ``registry`` is the format, ``url`` that of one lookup with ``{npi}`` in it, by default the format's public one.
    What is no NPI is ``invalid`` and not asked for. Raises SettingsError when the format or the URL cannot be used,
    RegistryDownError.
    """
    wanted = list(dict.fromkeys([npis] if isinstance(npis, str) else npis))
    # Where files would be is not asked for: there is nobody to look up by HTTP then, and that is what is said.
    named = {"registry_format": registry, "registry_url": url or "", "bulk_files": "."}
    asked = Registry.from_settings(Settings.from_environment({}, **named).registry)
    reasons = {npi: why_invalid(npi) for npi in wanted}
    now = clock.utc_now()
    outcomes = {
        npi: NpiOutcome(npi, Verdict(Outcome.invalid, reason), now) for npi, reason in reasons.items() if reason
    }
    for outcome in fetch([npi for npi in wanted if npi not in outcomes], asked, settings):
        outcomes[outcome.npi] = outcome
    return [outcomes[npi] for npi in wanted]

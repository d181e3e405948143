"""Which registry is asked, and where."""

from __future__ import annotations

import pytest

from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry, format_of
from npi_pipeline.settings import RegistrySettings, SettingsError


def test_the_public_registry_is_the_default() -> None:
    registry = Registry.from_settings(RegistrySettings())
    assert registry.format is FORMATS["nppes"]
    assert registry.host == "npiregistry.cms.hhs.gov"


def test_a_url_of_ones_own_is_used_with_either_format() -> None:
    url = "https://key:secret@example.org:8443/test?npi={npi}&key=secret"
    registry = Registry.from_settings(RegistrySettings(registry_format="affiliated_practices", registry_url=url))
    assert registry.url == url
    assert registry.host == "example.org:8443"
    assert "secret" not in registry.identity


def test_the_identity_shows_format_and_host_and_of_a_path_that_may_hold_a_key_a_digest() -> None:
    keyed, other = (
        Registry(FORMATS["nppes"], f"https://me:{key}@example.org:8443/{key}/api/?number={{npi}}&key={key}")
        for key in ("5ecret", "0ther")
    )
    assert keyed.identity.startswith("nppes example.org:8443 ")
    assert "5ecret" not in keyed.identity
    assert keyed.identity != other.identity
    assert format_of(keyed.identity) is FORMATS["nppes"]


def test_the_key_of_a_query_may_be_renewed_and_the_registry_is_the_same() -> None:
    old, new = (Registry(FORMATS["nppes"], f"https://example.org/?number={{npi}}&key={key}") for key in "ab")
    assert old.identity == new.identity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"registry_format": "affiliated_practices"}, "has no public URL; set NPI_REGISTRY_URL"),
        ({"registry_url": "http://{npi}/"}, "with {npi} in its path or query"),
    ],
)
def test_a_registry_that_cannot_be_asked_is_refused_on_one_line(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Registry.from_settings(RegistrySettings(**settings))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)

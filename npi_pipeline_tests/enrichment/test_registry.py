"""Which registry is asked, and where."""

from __future__ import annotations

import pytest

from npi_pipeline.enrichment.formats import FORMATS
from npi_pipeline.enrichment.registry import Registry
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"registry_format": "affiliated_practices"}, "has no public URL; set NPI_REGISTRY_URL"),
        ({"registry_url": "http://{npi}/"}, "with {npi} in its path or query"),
        ({"registry_url": "http:///api/{npi}"}, "with {npi} in its path or query"),
    ],
)
def test_a_registry_that_cannot_be_asked_is_refused_on_one_line(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Registry.from_settings(RegistrySettings(**settings))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)

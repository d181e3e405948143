"""Registry formats: how one registry's URL and JSON look.

A format is one file in this folder that defines one ``RegistryFormat``; adding it to ``FORMATS``, and its name to
``settings.FormatName``, is all that a third one needs. Not here: asking (``http_fetch.fetch``) and the making of tables
(``npi_pipeline.providers``).
"""

from __future__ import annotations

from npi_pipeline.registries.affiliated_practices import AFFILIATED_PRACTICES
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.bulk_format import NPPES_BULK
from npi_pipeline.registries.registry_format import RegistryFormat

FORMATS: dict[str, RegistryFormat] = {format_.name: format_ for format_ in (NPPES, AFFILIATED_PRACTICES, NPPES_BULK)}

__all__ = ["FORMATS", "RegistryFormat"]

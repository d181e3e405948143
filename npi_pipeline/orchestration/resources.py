"""Dagster resources: where the list, the registry and the data are.

Each takes its fields from one group of ``settings``, and refuses besides what the core below cannot use. They become
fields of the launchpad in ``launchpad``. Not here: what is done with them (the rooms of the products).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import model_validator

from npi_pipeline.npi_list.source import no_client
from npi_pipeline.registries import FORMATS, RegistryFormat
from npi_pipeline.registries.nppes_bulk.files import open_bulk_files
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FileSettings, ListSettings, RegistrySettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from npi_pipeline.orchestration.s3_resource import S3


class NpiListSource(dg.ConfigurableResource[None], ListSettings):
    """Where the day's NPI list is."""

    def client(self, s3: S3) -> S3Client:
        """A client of ``s3`` for the list's bucket, without credentials when the list is said to be public.

        Raises ListUnavailableError when none can be made.
        """
        from botocore.exceptions import BotoCoreError

        try:
            return s3.get_client(unsigned=self.list_unsigned, requester_pays=self.list_requester_pays)
        except BotoCoreError as error:
            raise no_client(self.list_bucket, error) from error


class ProviderRegistry(dg.ConfigurableResource[None], RegistrySettings):
    """Which provider registry answers."""

    @model_validator(mode="after")
    def _names_a_registry(self) -> ProviderRegistry:
        if self.has_snapshot:
            open_bulk_files(self.bulk_files)
        if not self.is_bulk:
            self.registry()
        return self

    @property
    def format(self) -> RegistryFormat:
        """How its records look."""
        return FORMATS[self.registry_format.value]

    def registry(self) -> Registry:
        """The registry that is asked over HTTP, as the core knows it. Raises SettingsError."""
        return Registry.from_settings(self)


class DayStorage(dg.ConfigurableResource[None], FileSettings):
    """Where a day's files lie and what they are called."""

    @model_validator(mode="after")
    def _names_a_root(self) -> DayStorage:
        self.open()
        return self

    def open(self) -> DataRoot:
        """The data root, local or S3."""
        return open_data_root(self.data_root)

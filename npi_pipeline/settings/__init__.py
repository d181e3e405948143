"""Every setting of the pipeline: its type, bounds, default and description, in one place.

The environment variable, the launchpad field, the command line option and the documentation's table are all
derived from the models; nothing else in the package reads ``os.environ`` for a setting.
The rule for names is uniform: the setting ``max_retries`` is the variable ``NPI_MAX_RETRIES``, the option
``--max-retries`` and the launchpad field ``max_retries``.

Not here: what the settings do (see the room that uses them), nor how S3 is reached
(that is set the way every AWS tool is, ``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, ...).
"""

from npi_pipeline.settings.base import SettingsError, SettingsGroup
from npi_pipeline.settings.checks import CheckSettings
from npi_pipeline.settings.days import DaySettings, MonitoringSettings
from npi_pipeline.settings.deliveries import DeliverySettings, SinkUrl
from npi_pipeline.settings.engine import Engine, EngineSettings
from npi_pipeline.settings.fetch import FetchMode, FetchSettings
from npi_pipeline.settings.files import FileSettings
from npi_pipeline.settings.logs import LogFormat, LogSettings
from npi_pipeline.settings.models import ENVIRONMENT_PREFIX, Settings, all_settings, environment_variable, one_line
from npi_pipeline.settings.npi_list import ListSettings
from npi_pipeline.settings.registry import FormatName, RegistrySettings
from npi_pipeline.settings.rendering import as_shown, as_text, bounds, choices, is_secret
from npi_pipeline.settings.retention import RetentionSettings
from npi_pipeline.settings.unknown import unknown_variables
from npi_pipeline.settings.urls import usable_url

__all__ = [
    "ENVIRONMENT_PREFIX",
    "CheckSettings",
    "DaySettings",
    "DeliverySettings",
    "Engine",
    "EngineSettings",
    "FetchMode",
    "FetchSettings",
    "FileSettings",
    "FormatName",
    "ListSettings",
    "LogFormat",
    "LogSettings",
    "MonitoringSettings",
    "RegistrySettings",
    "RetentionSettings",
    "Settings",
    "SettingsError",
    "SettingsGroup",
    "SinkUrl",
    "all_settings",
    "as_shown",
    "as_text",
    "bounds",
    "choices",
    "environment_variable",
    "is_secret",
    "one_line",
    "unknown_variables",
    "usable_url",
]

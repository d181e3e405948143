"""What stands in ``deploy/``, read. Not here: whether it is right (``test_deploy``, ``test_deploy_services``)."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def unit(name: str) -> configparser.ConfigParser:
    """The unit of a service by its name in ``compose.yaml``; of keys that are there twice, the last one."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / f"npi-pipeline-{name}.service").read_text())
    return parser


def env_example() -> dict[str, str]:
    """The variables of ``env.example``."""
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

"""How engines that read S3 by themselves (polars, delta-rs) get to a root: where the project's own client goes.

Not here: that client (``s3_client``), nor what the engines read and write there.
"""

from __future__ import annotations

from typing import Any

from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.s3 import S3Root
from npi_pipeline.storage.s3_errors import explain


def polars_options(root: DataRoot) -> dict[str, Any]:
    """The parameters of polars' scans that lead to a root on S3, with boto3's credentials; none for a local one."""
    if not isinstance(root, S3Root):
        return {}
    import polars as pl

    return {"storage_options": _place(root), "credential_provider": pl.CredentialProviderAWS()}


def object_store_options(root: DataRoot) -> dict[str, str]:
    """The ``storage_options`` of an engine that asks nobody for credentials: with those that boto3 has now.

    Raises StorageError when it has none.
    """
    if not isinstance(root, S3Root):
        return {}
    import boto3
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    try:
        found = boto3.session.Session().get_credentials()
        if found is None:
            raise NoCredentialsError
        credentials = found.get_frozen_credentials()
    except BotoCoreError as error:
        raise StorageError(f"cannot reach {root.uri()}: {explain(error, root.use)}") from error
    keys = {
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token,
    }
    return {
        **_place(root),
        **{name: key for name, key in keys.items() if key},
        # Of two that commit at once one does.
        "aws_conditional_put": "etag",
    }


def _place(root: S3Root) -> dict[str, str]:
    place = root.client.meta
    return {
        "aws_endpoint_url": place.endpoint_url,
        "aws_region": place.region_name,
        "aws_allow_http": "true",
    }

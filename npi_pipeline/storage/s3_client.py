"""How a client of S3 is made: with which patience, and for a bucket that is public or that the requester pays for.

S3 is reached the way every AWS tool is (``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, ...).
Not here: what is asked of it (``s3``, ``npi_list.source``), and what is said when it refuses (``s3_errors``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A connection that takes longer than that is not coming: a lost packet is sent again after one second and after three.
CONNECT_SECONDS = 4
READ_SECONDS = 30


def s3_client(
    *,
    attempts: int,
    profile: str | None = None,
    unsigned: bool = False,
    requester_pays: bool = False,
    connections: int = 10,
    signature: str | None = None,
    **options: Any,
) -> S3Client:
    """A client that repeats a refusal up to ``attempts`` times; ``options`` are of boto3's ``client``.

    ``signature`` is the version of its signatures, by default botocore's choice.
    It has a session of its own: boto3's default one is not safe to use from several threads.
    Raises BotoCoreError, as when the profile or the endpoint cannot be used.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, InvalidEndpointConfigurationError

    config = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        max_pool_connections=connections,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        tcp_keepalive=True,
        signature_version=UNSIGNED if unsigned else signature,
    )
    try:
        client: S3Client = boto3.session.Session(profile_name=profile).client("s3", config=config, **options)
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        raise InvalidEndpointConfigurationError(msg=str(error)) from error
    if requester_pays:
        client.meta.events.register("before-call.s3", _pay)
    return client


def is_unsigned(client: S3Client) -> bool:
    """Whether a client asks without credentials."""
    from botocore import UNSIGNED

    config: Any = client.meta.config
    return bool(config.signature_version is UNSIGNED)


def _pay(params: dict[str, Any], **_: object) -> None:
    """Say in every request that whoever asks pays for it."""
    params["headers"]["x-amz-request-payer"] = "requester"

"""The Dagster resource that gives access to S3: dagster-aws's, with our own way to make a client.

In a module of its own, for importing dagster-aws costs more than a second. Not here: which bucket (``resources``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_aws.s3 import S3Resource

from npi_pipeline.storage.s3_client import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from typing_extensions import Self


class S3(S3Resource):
    """dagster-aws's resource, whose client is made when it is used and gives up in bounded time."""

    def get_client(self, *, unsigned: bool = False, requester_pays: bool = False) -> S3Client:
        """A client as the fields say. Raises BotoCoreError."""
        return s3_client(
            attempts=self.max_attempts,
            profile=self.profile_name,
            unsigned=unsigned or self.use_unsigned_session,
            requester_pays=requester_pays,
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            use_ssl=self.use_ssl,
            verify=self.verify,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
        )

    def get_object_to_set_on_execution_context(self) -> Self:
        """Itself: before the first step nothing is to fail that a step could tell of."""
        return self

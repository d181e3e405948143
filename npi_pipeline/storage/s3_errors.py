"""What is said when S3, or the way to it, refuses: its own words on one line, and one remedy that works when followed.

The one table of remedies, for the bucket of the NPI list and for the data root. How either is named stands in ``Use``.
Not here: whether asking again may help (``s3_retryable``), and what an error becomes (``s3``, ``npi_list.source``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# S3's messages are a sentence or two; a page of HTML in their place is none.
_MAX_CHARACTERS = 500
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")
_REGION = re.compile(r"expecting '?([a-z0-9-]+)")
_USER_IN_URL = re.compile(r"//[^/@\s]*@")
_REQUEST_ID = "x-amz-request-id"


@dataclasses.dataclass(frozen=True)
class Use:
    """What a bucket is used for: the setting that names it, and the permissions that it takes.

    ``denied_else`` is what else a denial may mean for it, ``no_credentials_else`` what else helps without credentials.
    """

    setting: str
    permissions: str
    denied_else: str = ""
    no_credentials_else: str = ""


def explain(error: BaseException, use: Use) -> str:
    """What went wrong, in S3's or botocore's own words, and the remedy: one line, without a secret.

    ``error`` is of botocore or boto3; one that neither knows is told in its own words.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _answer_explained(error, use)
    return f"{_own_words(error)}; {_remedy_of_exception(error, use)}"


def code_of(error: ClientError) -> str:
    """S3's error code; of an answer without one, as to a HEAD, the HTTP status."""
    code: str = error.response.get("Error", {}).get("Code", "")
    return code


def is_wordless(error: ClientError) -> bool:
    """Whether the answer is an HTTP status alone: to a HEAD, or given by somebody who is no S3."""
    code = code_of(error)
    return not code or code.isdigit()


def _answer_explained(error: ClientError, use: Use) -> str:
    if is_wordless(error):
        return _wordless_explained(error)
    code = code_of(error)
    message = on_one_line(error.response["Error"].get("Message", ""))
    remedy = _REMEDIES.get(code, _KMS if code.startswith("KMS.") else _DEFAULT)
    said = f"{code}: {message}" if message else code
    return f"S3 says {said.rstrip('.')}; {remedy(error, use) if callable(remedy) else _filled_in(remedy, use)}"


def _wordless_explained(error: ClientError) -> str:
    answer = error.response.get("ResponseMetadata", {})
    headers = answer.get("HTTPHeaders", {})
    status = f"HTTP {answer.get('HTTPStatusCode', '')} {error.response.get('Error', {}).get('Message', '')}".rstrip()
    if _REQUEST_ID in headers:
        return f"S3 answers {status} and says no more; correct AWS_PROFILE or AWS_ACCESS_KEY_ID, or AWS_DEFAULT_REGION"
    server = on_one_line(headers.get("server", ""))
    who = f"{server}, which is no S3," if server else "somebody who is no S3"
    return (
        f"{who} answers {status}; a proxy, a firewall or another server stands between: "
        "see AWS_ENDPOINT_URL_S3, HTTPS_PROXY and NO_PROXY"
    )


Remedy = str | Callable[["ClientError", Use], str]


def _denied(error: ClientError, use: Use) -> str:
    """Which permission is missing: S3 often names it, as one of KMS."""
    message = error.response["Error"].get("Message", "")
    action = _ACTION.search(message)
    if "explicit deny" in message:
        return (
            f"a policy denies {action[1] if action else 'it'} explicitly: change that policy, or use other credentials"
        )
    if action and action[1].startswith("kms:"):
        return (
            f"grant {action[1]} on the object's KMS key to these credentials, and in the policy of the key itself when "
            "it is another account's"
        )
    if action:
        return f"grant {action[1]} to these credentials, or set AWS_PROFILE or AWS_ACCESS_KEY_ID to others"
    return f"grant {use.permissions} on it to these credentials{use.denied_else}"


def _in_another_region(error: ClientError, _: Use) -> str:
    """Where the bucket is, as far as S3 says it."""
    told = error.response["Error"]
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    expected = _REGION.search(told.get("Message", ""))
    region = headers.get("x-amz-bucket-region") or told.get("Region") or (expected[1] if expected else "")
    which = f"AWS_DEFAULT_REGION={region}" if region else "AWS_DEFAULT_REGION to the region of the bucket"
    return f"set {which}; an AWS_ENDPOINT_URL_S3 of another region has to go"


def _clock_is_wrong(error: ClientError, _: Use) -> str:
    date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        behind = email.utils.parsedate_to_datetime(date) - dt.datetime.now(dt.timezone.utc)
    except (ValueError, TypeError):
        return "set this machine's clock (timedatectl set-ntp true)"
    minutes = round(behind.total_seconds() / 60)
    side = "behind" if minutes > 0 else "ahead of"
    return f"this machine's clock is {abs(minutes)} minutes {side} S3's: set it (timedatectl set-ntp true)"


_KEYS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to a key that exists and is active"
_LOG_IN = (
    "log in again (`aws sso login`, of the AWS_PROFILE that is set), or renew AWS_SESSION_TOKEN and the keys beside it"
)
_ACCOUNT = "the account that owns the bucket or the key is to be put in order by its owner or by AWS's support"
_NO_BUCKET_NAME = "that is no bucket name; correct {setting}"
_WAIT = "it is overloaded or disturbed: run it again later"
_CHECKSUMS = (
    "if it stays so, set AWS_REQUEST_CHECKSUM_CALCULATION and AWS_RESPONSE_CHECKSUM_VALIDATION to when_required: not "
    "every store or proxy leaves the SDK's checksums whole"
)
_KMS = "enable the KMS key that the object or the bucket is encrypted with, or have it encrypted with another one"
_DEFAULT = "see that {setting} and AWS_ENDPOINT_URL_S3 are right"

# By S3's error codes, and those of the services that give credentials:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_REMEDIES: Mapping[str, Remedy] = {
    "NoSuchBucket": "there is no such bucket; correct {setting}, or AWS_ENDPOINT_URL_S3 if it is elsewhere",
    "InvalidBucketName": _NO_BUCKET_NAME,
    "AccessDenied": _denied,
    "AccessDeniedException": _denied,
    "ForbiddenException": _denied,
    "AllAccessDisabled": _ACCOUNT,
    "AccountProblem": _ACCOUNT,
    "NotSignedUp": _ACCOUNT,
    "InvalidPayer": _ACCOUNT,
    "InvalidAccessKeyId": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "UnrecognizedClientException": _KEYS,
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY, or the secret of AWS_PROFILE: it is not the access key's",
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "InvalidToken": _LOG_IN,
    "TokenRefreshRequired": _LOG_IN,
    "UnauthorizedException": _LOG_IN,
    "RequestTimeTooSkewed": _clock_is_wrong,
    "RequestExpired": _clock_is_wrong,
    "PermanentRedirect": _in_another_region,
    "TemporaryRedirect": _in_another_region,
    "AuthorizationHeaderMalformed": _in_another_region,
    "IllegalLocationConstraintException": _in_another_region,
    "InvalidRegion": _in_another_region,
    "InvalidObjectState": "it is archived: restore it (`aws s3api restore-object`), and run it again once it is there",
    "SlowDown": _WAIT,
    "ServiceUnavailable": _WAIT,
    "InternalError": _WAIT,
    "RequestTimeout": _WAIT,
    "BadDigest": _CHECKSUMS,
    "InvalidDigest": _CHECKSUMS,
    "XAmzContentSHA256Mismatch": _CHECKSUMS,
    "XAmzContentChecksumMismatch": _CHECKSUMS,
    "NotImplemented": "the store knows no conditional writes, by which runs keep out of each other's way, or not the "
    "SDK's checksums: set AWS_REQUEST_CHECKSUM_CALCULATION=when_required, and if that is not it use another S3",
    "PreconditionFailed": "it was written over this moment: run it again",
}


def _remedy_of_exception(error: BaseException, use: Use) -> str:
    import botocore.exceptions as known
    from botocore.parsers import ResponseParserError

    remedies: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (known.ProfileNotFound, "correct AWS_PROFILE, or add that profile to ~/.aws/config"),
        (known.NoCredentialsError, "set AWS_PROFILE or AWS_ACCESS_KEY_ID{no_credentials_else}"),
        (known.PartialCredentialsError, "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        ((known.SSOError, known.TokenRetrievalError, known.NoAuthTokenError), _LOG_IN),
        (known.LoginError, "log in again: `aws login`, of the AWS_PROFILE that is set"),
        (
            (known.CredentialRetrievalError, known.MetadataRetrievalError, known.RefreshWithMFAUnsupportedError),
            "see how the AWS_PROFILE that is set gets its credentials, or set AWS_ACCESS_KEY_ID",
        ),
        (
            (known.ConfigParseError, known.ConfigNotFound, known.InvalidConfigError, known.UnknownCredentialError),
            "correct ~/.aws/config and ~/.aws/credentials, or AWS_CONFIG_FILE and AWS_PROFILE",
        ),
        (known.InvalidRegionError, "correct AWS_DEFAULT_REGION, or the region of AWS_PROFILE"),
        (known.ParamValidationError, _NO_BUCKET_NAME),
        (
            (
                known.EndpointProviderError,
                known.InvalidEndpointConfigurationError,
                known.UnsupportedS3ConfigurationError,
            ),
            "correct {setting} or AWS_ENDPOINT_URL_S3 (write it like https://s3.example.org)",
        ),
        (known.SSLError, "set AWS_CA_BUNDLE to the authority of its certificate, or correct AWS_ENDPOINT_URL_S3"),
        (known.ProxyConnectionError, "correct HTTPS_PROXY, or name S3's host in NO_PROXY"),
        ((known.ChecksumError, known.FlexibleChecksumError), _CHECKSUMS),
        (ResponseParserError, "whoever answers is no S3: see AWS_ENDPOINT_URL_S3, HTTPS_PROXY and NO_PROXY"),
    )
    remedy = next((remedy for kind, remedy in remedies if isinstance(error, kind)), None)
    return _filled_in(remedy or "see that S3 can be reached (AWS_ENDPOINT_URL_S3, network)", use)


def _own_words(error: BaseException) -> str:
    from botocore.exceptions import ParamValidationError

    # Its report is about patterns.
    return "botocore refuses the name" if isinstance(error, ParamValidationError) else on_one_line(str(error))


def _filled_in(remedy: str, use: Use) -> str:
    names: dict[str, Any] = dataclasses.asdict(use)
    return remedy.format(**names)


def on_one_line(text: str) -> str:
    """On one line, of bounded length, without the name and password that a URL may hold."""
    line = _USER_IN_URL.sub("//", " ".join(text.split()))
    shown = "".join(character for character in line if character.isprintable())
    return shown if len(shown) <= _MAX_CHARACTERS else f"{shown[:_MAX_CHARACTERS]}..."

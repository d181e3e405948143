"""Whether an error of S3, or of the way to it, may pass by itself: what botocore knows of it, and no list of ours.

botocore repeats a request by these rules too, but not for long; what they call worth repeating is worth another try
later. Its checkers are no public interface: a test asks them about one error of each kind.
Not here: what is said of an error, and its remedy (``s3_errors``).
"""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.model import OperationModel
    from botocore.retries.standard import RetryContext

_FIRST_ATTEMPT = 1


def is_retryable(error: Exception) -> bool:
    """Whether the same request may be answered well later, without anyone's doing."""
    from botocore.exceptions import ChecksumError, ClientError, FlexibleChecksumError, IncompleteReadError
    from botocore.parsers import ResponseParserError
    from botocore.retries.standard import RetryContext

    if isinstance(error, ClientError):
        return _is_retryable_answer(error)
    if isinstance(error, (ChecksumError, FlexibleChecksumError, IncompleteReadError, ResponseParserError)):
        # What broke on the way, after botocore had made up its mind about repeating.
        return True
    return _is_repeated(RetryContext(_FIRST_ATTEMPT, operation_model=_of_no_service(), caught_exception=error))


def _is_retryable_answer(error: ClientError) -> bool:
    from botocore.retries.standard import RetryContext

    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    answer: Any = types.SimpleNamespace(status_code=status, headers={}, content=b"")
    context = RetryContext(
        _FIRST_ATTEMPT,
        operation_model=_operation(error.operation_name) or _of_no_service(),
        parsed_response=error.response,
        http_response=answer,
    )
    of_s3 = _checker_of_s3()
    return _is_repeated(context) or bool(of_s3(_FIRST_ATTEMPT, (answer, error.response), None, None))


def _is_repeated(context: RetryContext) -> bool:
    """What botocore's ``standard`` retry mode says, for any service, while there are attempts left."""
    from botocore.retries.standard import StandardRetryConditions

    return StandardRetryConditions(max_attempts=_FIRST_ATTEMPT + 1).is_retryable(context)


@functools.cache
def _checker_of_s3() -> Any:
    """What botocore's data (``_retry.json``) adds for S3, which the ``standard`` mode leaves out."""
    from botocore import loaders, retryhandler, translate

    known = loaders.create_loader().load_data("_retry")
    config = translate.build_retry_config("s3", known["retry"], known["definitions"])
    return retryhandler.create_checker_from_retry_config(config)


@functools.cache
def _operation(name: str) -> OperationModel | None:
    """The operation with the errors that its model declares; None for one of another service, as AssumeRole."""
    from botocore import loaders, model

    service = model.ServiceModel(loaders.create_loader().load_service_model("s3", "service-2"), "s3")
    return service.operation_model(name) if name in service.operation_names else None


def _of_no_service() -> Any:
    """What stands for an operation that has no errors of its own."""
    return types.SimpleNamespace(error_shapes=[], service_model=types.SimpleNamespace(service_name=""))

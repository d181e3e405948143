"""Reading what is there of a day although some of it may be damaged. Not here: what a reader takes for damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from npi_pipeline.errors import PipelineError
from npi_pipeline.storage.data_root import StorageError

Found = TypeVar("Found")


def read_or_note(problems: list[str], read: Callable[[], Found], otherwise: Found) -> Found:
    """What ``read`` finds; ``otherwise`` when it is not there, or damaged, which is added to ``problems`` as one line.

    Raises StorageError when the data root cannot be reached: then nothing is known of what is there.
    """
    try:
        return read()
    except FileNotFoundError:
        return otherwise
    except PipelineError as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        problems.append(str(error))
        return otherwise

"""What one of several workers may ask of the registry, as the others come to their end.

The caps of the settings are for all workers together, and each has an equal share. The share of one that is done goes
to those that are left: a thread looks from time to time how many these are. At no time do the shares add up to more
than the caps, because who is counted as done asks no more. Not here: how a fetch keeps to its share (``http_fetch``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import final

from npi_pipeline.errors import PipelineError
from npi_pipeline.settings import FetchSettings

logger = logging.getLogger(__name__)

# A look is one request to the data root. Shards of a day are at work for minutes.
_SECONDS_BETWEEN_LOOKS = 10.0


@final
class SharedCaps:
    """``now`` are the caps of this worker; ``workers`` tells how many there are now, and may raise a PipelineError.

    Looks while it is entered; a look that fails changes nothing.
    """

    def __init__(self, settings: FetchSettings, workers: Callable[[], int]) -> None:
        self._settings = settings
        self._workers = workers
        self._number = workers()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="npi-shared-caps", daemon=True)
        self.now = share_of(settings, self._number)

    def __enter__(self) -> SharedCaps:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _look(self) -> None:
        while self._number > 1 and not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                number = self._workers()
            except PipelineError as error:
                logger.debug("how many workers are left is not known: %s", error)
                continue
            if number != self._number:
                self._number = number
                self.now = share_of(self._settings, number)


def share_of(settings: FetchSettings, workers: int) -> FetchSettings:
    """What one of so many workers may ask of the registry: together they keep to the caps of ``settings``."""
    return settings.model_copy(
        update={
            "threads": max(1, settings.threads // workers),
            "requests_per_second": settings.requests_per_second / workers,
        }
    )

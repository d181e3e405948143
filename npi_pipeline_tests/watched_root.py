"""A data root that tells a test of each call before it is made, so that the test can act at that very moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npi_pipeline.storage.data_root import DataRoot


class WatchedRoot:
    """``root``, but ``before`` is called first, with the name of the method and its first argument, if any."""

    def __init__(self, root: DataRoot, before: Callable[[str, str], object]) -> None:
        self._root, self._before = root, before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._root, name)

        def told(*arguments: Any) -> Any:
            self._before(name, arguments[0] if arguments else "")
            return method(*arguments)

        return told

"""The root of the project's errors: what a user can mend or wait out is told on one line, never with a traceback.

Each error stands in the room that raises it. Who runs the rooms maps this root, once each: to Dagster's Failure
(``orchestration.assets.conventions``) and to what a shell sees (``cli.commands``).
"""

from __future__ import annotations


class PipelineError(Exception):
    """A known condition. The message is one line that names the thing, the place and the remedy.

    ``retryable`` says that the same again, minutes later and without anyone's doing, may succeed. A class says it of
    all its errors, or whoever raises one says it of that one.
    """

    retryable: bool = False

    def __init__(self, message: str, *, retryable: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable


def to_install(extra: str) -> str:
    """The remedy where an optional dependency is missing.

    From the checkout, and not by the project's name: it is on no package index, where anyone could register it.
    """
    return f"pip install '.[{extra}]' in the checkout"

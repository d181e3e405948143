"""How much memory the bodies of answers take together, from the socket until whoever iterates has had the outcome.

Each of a thousand threads may be at an answer of megabytes. So what is larger than a few kilobytes is counted for all
of them together, and when that is too much a thread reads no further until another's body was let go; its registry has
to wait too, which is what TCP is for, and no new request is made meanwhile (``fetch``). The body that was begun first
is never held up: so one is always finished, and the sum is exceeded by no more than one body.

Not here: how large one body may be (``client``), and outcomes on their way to the disk (``journal.writer``).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable

_MOST_BYTES = 16 << 20
# Nearly all answers are smaller than this: they are neither counted nor held up.
_SMALL_BYTES = 64 << 10
# Of <malloc.h>, and glibc's own default.
_M_TRIM_THRESHOLD = -1
_TRIM_THRESHOLD_BYTES = 128 << 10


class BodyMemory:
    """What the bodies of one fetch may take."""

    def __init__(self) -> None:
        # The large ones, in the order in which they were begun.
        self._taken: dict[BodyShare, int] = {}
        self._waiting = 0
        self._changed = threading.Condition()
        self.parsing = threading.Lock()
        _give_back_freed_memory()

    @property
    def is_used_up(self) -> bool:
        """Whether a body waits for room."""
        return self._waiting > 0

    def wake(self) -> None:
        """Have those that wait see whether they were broken off."""
        with self._changed:
            self._changed.notify_all()

    def hold(self, share: BodyShare, size: int, is_aborted: Callable[[], bool]) -> None:
        """Count ``size`` bytes for a body, and wait until there is room for them or it is broken off."""
        with self._changed:
            self._taken[share] = size
            self._waiting += 1
            self._changed.wait_for(lambda: self._has_room_for(share) or is_aborted())
            self._waiting -= 1

    def let_go(self, share: BodyShare, size: int) -> None:
        """Count no more than ``size`` bytes for a body."""
        with self._changed:
            if size > _SMALL_BYTES:
                self._taken[share] = size
            else:
                self._taken.pop(share, None)
            self._changed.notify_all()

    def _has_room_for(self, share: BodyShare) -> bool:
        return sum(self._taken.values()) <= _MOST_BYTES or next(iter(self._taken)) is share


class BodyShare:
    """What one body takes of ``memory``, from its first byte on. For one thread at a time."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._bytes = 0

    def take(self, size: int, is_aborted: Callable[[], bool]) -> None:
        """Take so many bytes more, which were just read. Raises ConnectionAbortedError when broken off meanwhile."""
        self._bytes += size
        if self._bytes > _SMALL_BYTES:
            self._memory.hold(self, self._bytes, is_aborted)
            if is_aborted():
                raise ConnectionAbortedError

    def shrink(self, size: int) -> None:
        """Let go of all but ``size`` bytes."""
        if self._bytes > _SMALL_BYTES:
            self._memory.let_go(self, size)
        self._bytes = size

    def parsing(self) -> contextlib.AbstractContextManager[object]:
        """While a body is parsed. Parsed it takes many times its bytes, so large ones are one after the other."""
        return self._memory.parsing if self._bytes > _SMALL_BYTES else contextlib.nullcontext()


@functools.cache
def _give_back_freed_memory() -> None:
    """Have the C library go on giving freed memory back to the kernel, as it does until the first large block is freed.

    From then on each of glibc's arenas, of which many threads have many, would keep as much as twice that block.
    """
    # Other C libraries have no such function, and no such habit.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)

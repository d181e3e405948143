"""Work on a stream of items that goes on in threads while its results are taken, in their order and a few ahead.

Who takes the results closes the generator: the threads are at rest then.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

_ITEMS_AHEAD = 2
_WORKERS = 2


def mapped(function: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made]:
    """What ``function`` makes of each item, in their order; it is at work on two at a time."""
    making: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="registry-read") as pool:
        try:
            for item in items:
                making.append(pool.submit(function, item))
                if len(making) > _WORKERS:
                    yield making.popleft().result()
            while making:
                yield making.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """The same items, made in a thread that is a few ahead."""
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(_ITEMS_AHEAD)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                made.put((item, error), timeout=0.1)
                return

    def make() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            put(None, error)

    thread = threading.Thread(target=make, name="registry-unpack", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stopped.set()
        thread.join()

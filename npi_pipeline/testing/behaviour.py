"""How the emulated registry behaves: latency, limits and faults, and the plan of which NPI meets which fault.

The plan is a pure function of (seed, NPI, try), so that a test knows the least number of requests that a list
needs. Not here: the serving of it (``registry_server``), nor what the good answers say (``providers``).
"""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import itertools
import math
import time
from collections.abc import Iterable

FAULTS = (
    "429",
    "429_retry_after",
    "500",
    "502",
    "503_html",
    "reset",
    "closed",
    "truncated",
    "slow_drip",
    "html_200",
    "empty",
    "another_npi",
    "huge_body",
    "gzip_bomb",
    "redirect_loop",
    "redirect_elsewhere",
    "hang",
)
"""Every fault that one answer can have:

``429``, ``429_retry_after`` (of ``retry_after`` seconds, or 1), ``500``, ``502``, ``503_html`` (as CloudFront's);
``reset`` (TCP), ``closed`` (the same in good order, as a peer ends a connection that it has kept for long),
``truncated`` (half of the announced body, then the end), ``slow_drip`` (a byte now and then, for ever), ``hang`` (no
byte at all, for ever); ``html_200``, ``empty``, ``another_npi`` (a good body about another provider); ``huge_body``
(100 MB), ``gzip_bomb`` (100 MB in 100 kB); ``redirect_loop``, ``redirect_elsewhere`` (to another host name, where a
good answer waits for who follows).
"""

DOWN = ("", "refusing", "closed")
_RANDOM_ERRORS = ("500", "502", "503_html")


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """All options of an emulated registry; times are seconds, shares 0 to 1, and 0 of a limit is no limit.

    seed, era, days: which providers there are, the shape of the answers, and how many days have changed some of them
    (see ``providers``).
    latency, latency_sigma: median time of an answer; with a sigma, lognormal.
    slow_above: with more requests than this in work, latency grows in proportion, and nothing is refused.
    capacity, burst: requests per second that are admitted, and how many at once after a pause (0: 50 ms' worth).
    max_in_flight: requests in work at once; more are refused with 503.
    refusal_status, refusal_latency: how and how fast a request over the capacity is refused.
    retry_after, retry_after_as_date: the header of refusals and of the fault ``429_retry_after``; None for none.
    fault_share, fault_tries, fault_kinds: the first ``fault_tries`` tries of that share of NPIs fail.
    error_share: any try fails with that chance, with 500, 502 or 503.
    down: ``refusing`` answers 503 to everything, ``closed`` closes the port and every connection.
    down_seconds: how long it stays down; 0 until it is changed.
    """

    seed: int = 0
    era: str = "C"
    days: int = 0
    latency: float = 0.0
    latency_sigma: float = 0.0
    slow_above: int = 0
    capacity: float = 0.0
    burst: int = 0
    max_in_flight: int = 0
    refusal_status: int = 429
    refusal_latency: float = 0.03
    retry_after: float | None = None
    retry_after_as_date: bool = False
    fault_share: float = 0.0
    fault_tries: int = 1
    fault_kinds: tuple[str, ...] = FAULTS
    error_share: float = 0.0
    down: str = ""
    down_seconds: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(self.fault_kinds) - set(FAULTS)
        if unknown or not self.fault_kinds:
            raise ValueError(f"fault_kinds holds {sorted(unknown)}; there are {', '.join(FAULTS)}")
        if self.down not in DOWN:
            raise ValueError(f"down={self.down!r}; it is one of {DOWN}")
        if not 0 <= self.error_share < 1 or not 0 <= self.fault_share <= 1:
            raise ValueError("fault_share is 0 to 1, error_share 0 to less than 1")

    def fault_of_try(self, npi: str, number: int) -> str | None:
        """What goes wrong with the try ``number`` (the first is 0) for one NPI, of those the registry admits."""
        if number < self.fault_tries and _rng(f"meets a fault {self.seed} {npi}") < self.fault_share:
            first = int(_rng(f"which fault {self.seed} {npi}") * len(self.fault_kinds))
            return self.fault_kinds[(first + number) % len(self.fault_kinds)]
        error = _rng(f"error {self.seed} {npi} {number}")
        if error < self.error_share:
            return _RANDOM_ERRORS[int(error / self.error_share * len(_RANDOM_ERRORS))]
        return None

    def planned_faults(self, npi: str) -> tuple[str, ...]:
        """What goes wrong with one NPI before its first good answer, in order."""
        faults = (self.fault_of_try(npi, number) for number in itertools.count())
        return tuple(itertools.takewhile(lambda fault: fault is not None, faults))  # type: ignore[arg-type]

    def latency_of(self, in_work: int, normal: float) -> float:
        """The latency of an answer, with so many requests in work, for a draw from the normal distribution."""
        latency = self.latency * math.exp(self.latency_sigma * normal)
        return latency * in_work / self.slow_above if 0 < self.slow_above < in_work else latency

    def retry_after_header(self) -> bytes:
        """The header line that asks a client to wait, if this registry sends one."""
        if self.retry_after is None:
            return b""
        if self.retry_after_as_date:
            when = email.utils.formatdate(time.time() + self.retry_after, usegmt=True)
            return f"Retry-After: {when}\r\n".encode()
        return f"Retry-After: {self.retry_after:g}\r\n".encode()

    def least_requests(self, npis: Iterable[str]) -> int:
        """How many admitted requests it takes at least to have a good answer for every NPI."""
        return sum(1 + len(self.planned_faults(npi)) for npi in npis)


def _rng(of: str) -> float:
    """A number from 0 to 1 that depends on ``of`` alone; far cheaper than seeding a generator."""
    return int.from_bytes(hashlib.blake2b(of.encode(), digest_size=7).digest(), "big") / 2**56

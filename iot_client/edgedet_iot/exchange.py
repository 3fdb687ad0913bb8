"""The rules of one request: which edge, when again, when to give up. No I/O: both clients drive the same generator.

An edge that cannot be reached or drains is left for the next one at once, which costs no retry. What else may pass
(429, 5xx) is tried again, `retries` times, first at edges not asked yet, then where the wait is shortest; an edge is
never asked again before its `Retry-After` is over, and nothing is sent that could not be answered by the deadline.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from edgedet_iot.edge_pool import EdgePool
from edgedet_iot.errors import (
    DeadlineMissed,
    Draining,
    EdgeFailed,
    IotFault,
    NotAnAnswer,
    Overloaded,
    PhotoRejected,
    Problem,
    Refused,
    Unreachable,
)

FIRST_BACKOFF_S = 0.1
CONNECT_S = 1.0
LONGEST_TRY_S = 600.0
"""The longest deadline that an edge takes."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the photo to `edge` now; it must be answered within `remaining_s`, and nothing is awaited any longer than
    `longest_s`."""

    edge: str
    remaining_s: float
    grace_s: float

    @property
    def longest_s(self) -> float:
        """Of the whole try, from the first byte sent to the last one received."""
        return self.remaining_s + self.grace_s

    @property
    def timeout(self) -> httpx.Timeout:
        """Longest waits of the try; those for sending and receiving begin anew with every part."""
        return httpx.Timeout(self.longest_s, connect=min(CONNECT_S, self.remaining_s), pool=None)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait before the next try."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: until `deadline_s` (on the clock of the exchange), with at most `retries` repetitions."""

    deadline_s: float
    retries: int
    grace_s: float
    """How long past the deadline the edge's own word (504) is awaited."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The end: `edge` answered 200."""

    edge: str
    response: httpx.Response


Outcome = httpx.Response | httpx.RequestError
Exchange = Generator[Send | Wait | Answered, Outcome | None, None]


def exchange(
    pool: EdgePool, patience: Patience, clock: Callable[[], float], jitter: Callable[[], float] = random.random
) -> Exchange:
    """Yields what to do next and is sent the outcome of each `Send`; the last step is `Answered`.

    Raises:
        IotFault: the last fault, once there is no time or no retry left.
    """
    retries_left = patience.retries
    not_before_s: dict[str, float] = {}
    fault: IotFault = DeadlineMissed("the deadline was over before the photo was sent")
    while True:
        sent = clock()
        if sent >= patience.deadline_s:
            raise fault
        edges = pool.take_order(sent)
        fresh = [edge for edge in edges if edge not in not_before_s]
        edge = fresh[0] if fresh else min(edges, key=lambda one: not_before_s[one])
        outcome = yield Send(edge, min(patience.deadline_s - sent, LONGEST_TRY_S), patience.grace_s)
        assert outcome is not None
        now = clock()
        if isinstance(outcome, httpx.Response) and outcome.status_code == HTTPStatus.OK:
            pool.answered(edge, now)
            yield Answered(edge, outcome)
            return
        fault = fault_of(outcome, edge, patience.deadline_s - now)
        if is_gone(fault):
            pool.failed(edge, sent, now)
        else:
            pool.answered(edge, now)
        if not may_pass(fault):
            raise fault
        not_before_s[edge] = now + _pause_s(fault, patience.retries - retries_left, jitter)
        others = fresh[1:]
        if not (others and is_gone(fault)):
            retries_left -= 1
        earliest_s = now if others else min(not_before_s.values())
        if retries_left < 0 or earliest_s >= patience.deadline_s:
            raise fault
        if earliest_s > now:
            yield Wait(earliest_s - now)


def fault_of(outcome: Outcome, edge: str, remaining_s: float) -> IotFault:
    """What an outcome other than 200 means, with `remaining_s` left until the deadline."""
    if isinstance(outcome, httpx.Response):
        return _refusal(outcome, edge)
    if isinstance(outcome, httpx.TimeoutException) and not isinstance(outcome, httpx.ConnectTimeout):
        return DeadlineMissed(f"{edge} did not answer in time", edge)
    if isinstance(outcome, httpx.ConnectTimeout) and remaining_s <= 0:
        return DeadlineMissed(f"{edge} took no connection in time", edge)
    return Unreachable(f"{edge}: {str(outcome) or type(outcome).__name__}", edge)


def is_gone(fault: IotFault) -> bool:
    """Whether the edge is to be left alone for a while."""
    silent = isinstance(fault, DeadlineMissed) and not fault.answered
    return silent or isinstance(fault, Unreachable | Draining)


def may_pass(fault: IotFault) -> bool:
    """Whether sending the same photo again can help."""
    return isinstance(fault, Unreachable | Overloaded | Draining | EdgeFailed)


def retry_after_s(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds of a `Retry-After`, which is a number or a date (RFC 9110, 10.2.3); None where there is none."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date - now).total_seconds()) if date.tzinfo else None


_KINDS: dict[int, type[Refused]] = {
    HTTPStatus.REQUEST_TIMEOUT: EdgeFailed,  # the photo was not there in time: the next try may be quicker
    HTTPStatus.TOO_MANY_REQUESTS: Overloaded,
    HTTPStatus.SERVICE_UNAVAILABLE: Draining,
}


def _refusal(response: httpx.Response, edge: str) -> IotFault:
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST:
        return NotAnAnswer(f"{edge} answered {status}", edge)
    problem = _problem(response)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return DeadlineMissed(f"{status} {problem.title}: {problem.detail}", edge, answered=True)
    kind = _KINDS.get(status, EdgeFailed if status >= HTTPStatus.INTERNAL_SERVER_ERROR else PhotoRejected)
    return kind(problem, edge, retry_after_s(response.headers, datetime.now(UTC)))


def _problem(response: httpx.Response) -> Problem:
    """The problem document; what is missing (a proxy between answers otherwise) comes from the status line."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    document = body if isinstance(body, dict) else {}
    phrase = response.reason_phrase or "no reason given"
    return Problem(
        status=response.status_code,
        title=str(document.get("title", phrase)),
        detail=str(document.get("detail", "no detail given")),
        request_id=str(document.get("request_id", response.headers.get("x-request-id", ""))),
    )


def _pause_s(fault: IotFault, repetitions: int, jitter: Callable[[], float]) -> float:
    """At least what the edge asked for; spread, so that clients refused together do not come back together."""
    asked = fault.retry_after_s if isinstance(fault, Refused) else None
    pause_s = FIRST_BACKOFF_S * 2**repetitions if asked is None else asked
    return pause_s + 0.25 * jitter() * max(pause_s, FIRST_BACKOFF_S)

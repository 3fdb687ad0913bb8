"""Errors of the client, one tree:

IotFault
├── Unreachable       no connection to an edge, or it broke before the answer
├── DeadlineMissed    no answer in time: the edge said so (504), or said nothing
├── NotAnAnswer       something answered that does not speak EdgeDet's interface
└── Refused           the edge answered a problem document (RFC 9457)
    ├── PhotoRejected     4xx: sending the same again would not help
    ├── Overloaded        429, with the time after which to try again
    ├── Draining          503: this edge is about to stop
    └── EdgeFailed        5xx: a fault of the edge; 408: the photo did not reach it in time
"""

from dataclasses import dataclass


class IotFault(Exception):
    """Base of all errors that are raised on purpose; `edge` is the URL of the edge, empty if none was asked."""

    def __init__(self, message: str, edge: str = "") -> None:
        super().__init__(message)
        self.edge = edge


class Unreachable(IotFault):
    """The connection could not be made, or broke before the answer was there."""


class DeadlineMissed(IotFault):
    """No answer by the deadline; `answered` tells whether the edge said so (504) or was silent."""

    def __init__(self, message: str, edge: str = "", *, answered: bool = False) -> None:
        super().__init__(message, edge)
        self.answered = answered


class NotAnAnswer(IotFault):
    """The answer lacks a field, or is not JSON."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document."""

    status: int
    title: str
    detail: str
    request_id: str = ""


class Refused(IotFault):
    """Base of what an edge says instead of an answer; `problem` is its document."""

    def __init__(self, problem: Problem, edge: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}", edge)
        self.problem = problem
        self.retry_after_s = retry_after_s
        """Seconds that the edge asked to wait; None where it asked for nothing."""


class PhotoRejected(Refused):
    """The photo or the query is at fault."""


class Overloaded(Refused):
    """The edge takes no further photo now."""


class Draining(Refused):
    """The edge is about to stop and takes no further photo."""


class EdgeFailed(Refused):
    """The edge failed; another one may not."""

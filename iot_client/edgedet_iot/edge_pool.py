"""Which edge to ask first: the given order, with those that lately failed at the end.

Pure: the clock is passed in. One pool serves all requests of a client, from several threads too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

FIRST_REST_S = 1.0
LONGEST_REST_S = 30.0


@dataclass(frozen=True, slots=True)
class _Rest:
    until_s: float
    length_s: float
    probed: bool
    """Whether a request tries the edge again already; the others wait for how it goes."""


class EdgePool:
    """Edges by URL, and which of them rest after a failure: 1 s, doubled up to 30 s while they keep failing.

    After a rest one request tries the edge; only its success brings the others back. While no word of it comes, another
    tries after as long again, then after twice as long, and so on.
    """

    def __init__(self, edges: str | Sequence[str]) -> None:
        given = [edges] if isinstance(edges, str) else list(edges)
        if not given:
            raise ValueError("no edge given")
        self.edges = tuple(dict.fromkeys(_checked(edge) for edge in given))
        self._rests: dict[str, _Rest] = {}
        self._news_s: dict[str, float] = {}
        """When each edge last answered, began to rest or was tried again: what was sent before tells nothing new."""

    def take_order(self, now_s: float) -> tuple[str, ...]:
        """All edges for one request: the living as given, then the resting, soonest back first."""
        resting: dict[str, float] = {}
        for edge, rest in list(self._rests.items()):
            if rest.until_s > now_s:
                resting[edge] = rest.until_s
            elif rest.probed:  # no word of the request that tried it, which may have been given up
                length_s = _doubled(rest.length_s)
                self._rests[edge] = _Rest(now_s + length_s, length_s, probed=True)
            else:
                self._news_s[edge] = now_s
                self._rests[edge] = _Rest(now_s + rest.length_s, rest.length_s, probed=True)
        return tuple(sorted(self.edges, key=lambda edge: resting.get(edge, 0.0)))

    def failed(self, edge: str, sent_s: float, now_s: float) -> None:
        """The edge did not answer what was sent at `sent_s`."""
        last = self._rests.get(edge)
        if sent_s < self._news_s.get(edge, sent_s) or (last is not None and not last.probed):
            return
        length_s = FIRST_REST_S if last is None else _doubled(last.length_s)
        self._rests[edge] = _Rest(now_s + length_s, length_s, probed=False)
        self._news_s[edge] = now_s

    def answered(self, edge: str, now_s: float) -> None:
        """The edge is alive."""
        self._rests.pop(edge, None)
        self._news_s[edge] = now_s


def _doubled(length_s: float) -> float:
    return min(2 * length_s, LONGEST_REST_S)


def _checked(edge: str) -> str:
    if not _is_usable(edge):
        raise ValueError(f"{edge!r} is not the URL of an edge, such as http://192.168.0.20:8080")
    return edge.rstrip("/")


def _is_usable(edge: str) -> bool:
    """Whether it can be asked at all: what httpx or the resolver would refuse is found out here, not photo by photo."""
    try:
        url = httpx.URL(edge)
        url.host.encode("idna")
    except (httpx.InvalidURL, ValueError):
        return False
    reachable = url.scheme in ("http", "https") and bool(url.host) and (url.port or 1) < 1 << 16
    return reachable and not url.query and not url.fragment

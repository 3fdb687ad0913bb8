"""`Client` and `AsyncClient`: photos to edges; both drive the rules of `exchange`."""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from edgedet_iot.answers import Classes, Detections, read_classes, read_detections
from edgedet_iot.connections import ConnectionStack
from edgedet_iot.edge_pool import EdgePool
from edgedet_iot.errors import NotAnAnswer
from edgedet_iot.exchange import Answered, Exchange, Outcome, Patience, Send, Wait, exchange
from edgedet_iot.photo_request import (
    ClassifyOptions,
    DetectOptions,
    Photo,
    PhotoRequest,
    annotate_request,
    classify_request,
    detect_request,
)
from edgedet_iot.timed_transport import TimedTransport

DEADLINE_S = 10.0
RETRIES = 3
GRACE_S = 0.5
_JPEG_BEGINS = b"\xff\xd8\xff"
TRUST_ENV = False
"""Edges stand on the site's own network: proxies for the internet, which the environment may name, are not asked."""


class _Rules:
    """What both clients share: the edges, the deadline and the retries."""

    def __init__(self, edges: str | Sequence[str], deadline_s: float, retries: int, grace_s: float) -> None:
        if not (deadline_s > 0 and retries >= 0 and grace_s >= 0):
            raise ValueError("deadline_s must be above 0, retries and grace_s at least 0")
        self._pool = EdgePool(edges)
        self._deadline_s, self._retries, self._grace_s = deadline_s, retries, grace_s

    @property
    def edges(self) -> tuple[str, ...]:
        """URLs in the order of preference."""
        return self._pool.edges

    def _exchange(self, deadline_s: float | None) -> Exchange:
        end_s = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        return exchange(self._pool, Patience(end_s, self._retries, self._grace_s), time.monotonic)


class Client(_Rules):
    """Posts photos to edges, the first that lives.

    Args:
        edges: URL of an edge, or several in the order of preference. One that fails rests for a while.
        deadline_s: seconds for an answer, retries included; every try tells the edge what is left. The methods take
            another one for a single photo.
        retries: repetitions of a photo that was refused (429), cut off (408) or failed (5xx); `Retry-After` is
            respected.
        grace_s: how long past the deadline the edge's own word (504) is awaited, before the edge counts as dead.
        transport: replaces the network (httpx).

    Raises (all methods):
        IotFault: see `edgedet_iot.errors`.
        OSError: a photo's file cannot be read.
        TypeError: a photo is neither bytes nor a path, or an option neither str nor number.

    Example:
        >>> with Client(["http://192.168.0.20:8080", "http://192.168.0.21:8080"]) as client:  # doctest: +SKIP
        ...     for one in client.detect(Path("photo.jpg"), score_threshold=0.4).detections:
        ...         print(one.label, one.score, one.box)
    """

    def __init__(
        self,
        edges: str | Sequence[str],
        *,
        deadline_s: float = DEADLINE_S,
        retries: int = RETRIES,
        grace_s: float = GRACE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(edges, deadline_s, retries, grace_s)
        network = transport or httpx.HTTPTransport(limits=httpx.Limits(max_connections=None), trust_env=TRUST_ENV)
        self._http = httpx.Client(transport=TimedTransport(network), trust_env=TRUST_ENV)

    def detect(self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[DetectOptions]) -> Detections:
        """Detect objects."""
        answered = self._post(detect_request(photo, options), deadline_s)
        return read_detections(_json(answered), answered.edge)

    def annotate(self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[DetectOptions]) -> bytes:
        """Detect objects and draw them; the bytes of a JPEG."""
        return _jpeg(self._post(annotate_request(photo, options), deadline_s))

    def classify(self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[ClassifyOptions]) -> Classes:
        """Classify the photo."""
        answered = self._post(classify_request(photo, options), deadline_s)
        return read_classes(_json(answered), answered.edge)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, request: PhotoRequest, deadline_s: float | None) -> Answered:
        rules = self._exchange(deadline_s)
        step = next(rules)
        while not isinstance(step, Answered):
            step = rules.send(self._take(step, request))
        return step

    def _take(self, step: Send | Wait, request: PhotoRequest) -> Outcome | None:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.post(**_arguments(request, step))
        except httpx.RequestError as error:
            return error


class AsyncClient(_Rules):
    """`Client` for asyncio: the same arguments, methods and errors.

    However long `grace_s` is, an edge that says nothing rests half a second after the deadline, so that requests sent
    meanwhile go to others.
    """

    def __init__(
        self,
        edges: str | Sequence[str],
        *,
        deadline_s: float = DEADLINE_S,
        retries: int = RETRIES,
        grace_s: float = GRACE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(edges, deadline_s, retries, grace_s)
        self._http = httpx.AsyncClient(transport=transport or ConnectionStack(), trust_env=TRUST_ENV)

    async def detect(
        self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[DetectOptions]
    ) -> Detections:
        """Detect objects."""
        answered = await self._post(detect_request(photo, options), deadline_s)
        return read_detections(_json(answered), answered.edge)

    async def annotate(
        self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[DetectOptions]
    ) -> bytes:
        """Detect objects and draw them; the bytes of a JPEG."""
        return _jpeg(await self._post(annotate_request(photo, options), deadline_s))

    async def classify(
        self, photo: Photo, *, deadline_s: float | None = None, **options: Unpack[ClassifyOptions]
    ) -> Classes:
        """Classify the photo."""
        answered = await self._post(classify_request(photo, options), deadline_s)
        return read_classes(_json(answered), answered.edge)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _post(self, request: PhotoRequest, deadline_s: float | None) -> Answered:
        rules = self._exchange(deadline_s)
        step = next(rules)
        while not isinstance(step, Answered):
            step = rules.send(await self._take(step, request))
        return step

    async def _take(self, step: Send | Wait, request: PhotoRequest) -> Outcome | None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        rest = asyncio.get_running_loop().call_later(
            step.remaining_s + GRACE_S, self._rest, step.edge, time.monotonic()
        )
        try:
            async with asyncio.timeout(step.longest_s):
                return await self._http.post(**_arguments(request, step))
        except TimeoutError:
            return httpx.ReadTimeout("")
        except httpx.RequestError as error:
            return error
        finally:
            rest.cancel()

    def _rest(self, edge: str, sent_s: float) -> None:
        self._pool.failed(edge, sent_s, time.monotonic())


def _arguments(request: PhotoRequest, step: Send) -> dict[str, Any]:
    return {
        "url": step.edge + request.path,
        "params": dict(request.query),
        "content": request.content,
        "headers": request.headers(step.remaining_s),
        "timeout": step.timeout,
    }


def _jpeg(answered: Answered) -> bytes:
    content = answered.response.content
    if not content.startswith(_JPEG_BEGINS):
        raise NotAnAnswer(f"{answered.edge} did not answer a JPEG", answered.edge)
    return content


def _json(answered: Answered) -> Any:
    try:
        return answered.response.json()
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer(f"{answered.edge} did not answer JSON", answered.edge) from error

"""Profiles and states for the tests: short-hand for single cases, hypothesis strategies for all others."""

from dataclasses import replace

from edgedet_edge.placement import BreakerState, CloudState, EdgeState, Job, LinkState, ModelProfile, NodeState
from hypothesis import strategies as st

YOLO = ModelProfile(
    head_ms=(0.0, 3.7, 5.1, 6.6, 8.0, 9.5, 17.0, 23.0),
    encode_ms=(1.0, 1.6, 1.4, 1.2, 1.1, 1.2, 1.3),
    wire_bytes=(90_000.0, 330_000.0, 160_000.0, 80_000.0, 43_000.0, 86_000.0, 110_000.0),
    tail_ms=(23.5, 19.9, 18.3, 16.7, 15.1, 13.7, 6.2),
    allowed=(1, 2, 3, 4, 5, 6),
)
"""YOLOv3-tiny on one core, roughly; the cloud is as fast as the edge."""

IDLE_EDGE = EdgeState(workers=1, waiting=0, residual_ms=(), mean_service_ms=23.0, utilization=0.0, arrivals_per_ms=0.0)
FAST_LINK = LinkState(rtt_ms=2.0, bandwidth_bytes_ms=125_000.0)


def cloud(address: str = "a:1", **changes: object) -> CloudState:
    """An idle cloud behind a gigabit link, as fast as the profile says."""
    return replace(CloudState(address, FAST_LINK, same_package=True, mean_service_ms=15.0), **changes)


def busy_edge(**changes: object) -> EdgeState:
    """One worker, 5 ms from its end, three jobs behind it."""
    busy = EdgeState(
        workers=1, waiting=3, residual_ms=(5.0,), mean_service_ms=20.0, utilization=1.0, arrivals_per_ms=0.05
    )
    return replace(busy, **changes)


def job(boundary: int = 0, deadline_ms: float = 1000.0, **changes: object) -> Job:
    """A photo at admission (boundary 0), or running."""
    plain = Job(YOLO, boundary, now_s=50.0, deadline_s=50.0 + deadline_ms / 1000.0, queued=boundary == 0)
    return replace(plain, **changes)


_SHARES = st.floats(0.0, 1.0)
_TIMES_MS = st.floats(0.0, 500.0)
_COUNTS = st.integers(0, 50)


@st.composite
def profiles(draw: st.DrawFn) -> ModelProfile:
    """Any profile of up to eight segments."""
    last = draw(st.integers(1, 8))
    segment_ms = draw(st.lists(st.floats(0.01, 100.0), min_size=last, max_size=last))
    per_boundary = {
        name: tuple(draw(st.lists(values, min_size=last, max_size=last)))
        for name, values in (
            ("encode_ms", st.floats(0.0, 10.0)),
            ("wire_bytes", st.floats(1.0, 2e6)),
            ("tail_ms", st.floats(0.0, 500.0)),
        )
    }
    allowed = tuple(sorted(draw(st.sets(st.integers(0, last - 1)))))
    head_ms = tuple(sum(segment_ms[:k]) for k in range(last + 1))
    return ModelProfile(head_ms=head_ms, allowed=allowed, **per_boundary)


@st.composite
def edges(draw: st.DrawFn) -> EdgeState:
    """Any edge, its queue empty or not."""
    workers = draw(st.integers(1, 8))
    return EdgeState(
        workers=workers,
        waiting=draw(_COUNTS),
        residual_ms=tuple(draw(st.lists(_TIMES_MS, max_size=workers))),
        mean_service_ms=draw(_TIMES_MS),
        utilization=draw(_SHARES),
        arrivals_per_ms=draw(st.floats(0.0, 10.0)),
    )


@st.composite
def links(draw: st.DrawFn) -> LinkState:
    """Any link, measured or not, free or stuck."""
    waiting = draw(_COUNTS)
    return LinkState(
        rtt_ms=draw(st.none() | st.floats(0.0, 500.0)),
        bandwidth_bytes_ms=draw(st.none() | st.floats(0.1, 1e6)),
        waiting=waiting,
        queued_bytes=waiting * draw(st.floats(1.0, 1e6)),
        transfer_bytes=draw(st.sampled_from((0.0, 43_000.0, 1e6))),
        transfer_elapsed_ms=draw(st.floats(0.0, 10_000.0)),
        utilization=draw(_SHARES),
    )


def clouds(addresses: st.SearchStrategy[str]) -> st.SearchStrategy[CloudState]:
    """Any cloud, also one never heard of."""
    return st.builds(
        CloudState,
        address=addresses,
        link=links(),
        same_package=st.sampled_from((True, True, True, False)),
        breaker=st.sampled_from((BreakerState.CLOSED, BreakerState.CLOSED, *BreakerState)),
        workers=st.integers(1, 64),
        backlog_ms=_TIMES_MS,
        reply_age_ms=st.floats(0.0, 1e5) | st.just(float("inf")),
        own_ms=_TIMES_MS,
        utilization=_SHARES,
        mean_service_ms=st.just(0.0) | st.floats(0.1, 500.0),
        tail_ms=st.just(()) | st.lists(st.none() | st.floats(0.1, 500.0), max_size=8).map(tuple),
    )


@st.composite
def nodes(draw: st.DrawFn) -> NodeState:
    """Any edge with up to four clouds."""
    count = draw(st.integers(0, 4))
    return NodeState(draw(edges()), tuple(draw(clouds(st.just(f"cloud-{n}:9000"))) for n in range(count)))


@st.composite
def jobs(draw: st.DrawFn, profile: st.SearchStrategy[ModelProfile] | None = None) -> Job:
    """Any request, at any boundary before the last, late or not."""
    drawn = draw(profile if profile is not None else profiles())
    boundary = draw(st.integers(0, drawn.last - 1))
    now_s = draw(st.floats(0.0, 1e6))
    return Job(
        profile=drawn,
        boundary=boundary,
        now_s=now_s,
        deadline_s=now_s + draw(st.floats(-1.0, 10.0)),
        queued=draw(st.booleans()),
        excluded=frozenset(draw(st.sets(st.sampled_from(("cloud-0:9000", "cloud-1:9000"))))),
    )

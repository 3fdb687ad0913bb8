"""Each policy on cases small enough to work out by hand."""

from dataclasses import replace
from random import Random

import pytest
from edgedet_edge.placement import (
    POLICY_NAMES,
    BreakerState,
    EdgeState,
    HandOver,
    Job,
    LinkState,
    Local,
    ModelProfile,
    NodeState,
    Reason,
    parse_policy,
)
from edgedet_edge.placement.fixed_boundary import FixedBoundary
from edgedet_edge.placement.greedy import Greedy
from edgedet_edge.placement.marginal_cost import MarginalCost, edge_price_ms, price_ms
from edgedet_edge.placement.neurosurgeon import Neurosurgeon
from edgedet_edge.placement.plans import plans_for

from tests.unit.edge.placement.scenes import FAST_LINK, IDLE_EDGE, YOLO, busy_edge, cloud, job

SLOW = ModelProfile(
    head_ms=(0.0, 10.0, 20.0, 100.0),
    encode_ms=(1.0, 1.0, 1.0),
    wire_bytes=(90_000.0, 40_000.0, 10_000.0),
    tail_ms=(50.0, 45.0, 40.0),
    allowed=(1, 2),
)
"""A clear case: 80 of 100 ms come after boundary 2, in the cloud 40."""


def slow_job(boundary: int = 0, **changes: object) -> Job:
    return job(boundary, **{"profile": SLOW, **changes})


@pytest.mark.parametrize("name", [*POLICY_NAMES[:2], *POLICY_NAMES[3:], "fixed-boundary=4"])
def test_a_policy_is_found_by_its_name(name: str) -> None:
    assert parse_policy(name).name == name


@pytest.mark.parametrize("name", ["", "best", "fixed-boundary", "fixed-boundary=", "fixed-boundary=-1", "greedy=1"])
def test_another_name_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="marginal-cost, edge-only, fixed-boundary=K"):
        parse_policy(name)


def test_a_handover_is_predicted_as_wait_head_link_wire_round_trip_cloud_wait_and_tail() -> None:
    # 10,000 bytes/ms; 8 ms of queue on the link, of which the head of 21 ms eats all; 30 ms told + (20/2 - 2) ms own.
    link = LinkState(rtt_ms=2.0, bandwidth_bytes_ms=10_000.0, waiting=1, queued_bytes=80_000.0)
    there = cloud(link=link, workers=2, backlog_ms=30.0, own_ms=20.0)
    state = NodeState(busy_edge(), (there,))
    last = plans_for(slow_job(), state, [there])[-1]
    assert last.boundary == 2
    assert last.edge_ms == 21.0
    assert last.wire_ms == 1.0
    assert last.cloud_wait_ms == pytest.approx(30.0 + 20.0 / 2 - (1.0 + 1.0))
    assert last.latency_ms == pytest.approx(state.edge.wait_ms + 21.0 + 1.0 + 2.0 + 38.0 + 40.0)


def test_the_link_queue_that_outlasts_the_head_is_waited_for() -> None:
    link = LinkState(rtt_ms=2.0, bandwidth_bytes_ms=10_000.0, waiting=1, queued_bytes=400_000.0)
    there = cloud(link=replace(link, transfer_bytes=50_000.0, transfer_elapsed_ms=2.0))
    plan = plans_for(slow_job(1), NodeState(IDLE_EDGE, (there,)), [there])[-1]
    assert plan.edge_ms == 11.0
    assert plan.latency_ms == pytest.approx(11.0 + (40.0 + 3.0 - 11.0) + 1.0 + 2.0 + 40.0)


def test_tensors_that_are_there_already_leave_without_a_worker() -> None:
    there = cloud(link=LinkState(2.0, 10_000.0))
    state = NodeState(busy_edge(), (there,))
    plans = {plan.boundary: plan for plan in plans_for(slow_job(1, queued=True), state, [there])}
    assert plans[1].latency_ms == pytest.approx(1.0 + 4.0 + 2.0 + 45.0)
    assert plans[2].latency_ms == pytest.approx(state.edge.wait_ms + 11.0 + 1.0 + 2.0 + 40.0)


def test_a_cloud_s_word_counts_for_a_second() -> None:
    fresh, stale = cloud(backlog_ms=300.0, reply_age_ms=900.0), cloud(backlog_ms=300.0, reply_age_ms=1100.0)
    waits = [plans_for(slow_job(), NodeState(IDLE_EDGE), [there])[0].cloud_wait_ms for there in (fresh, stale)]
    assert waits == [300.0, 0.0]


def test_the_prices_are_those_of_the_formula() -> None:
    edge = EdgeState(
        workers=2, waiting=4, residual_ms=(1.0, 1.0), mean_service_ms=10.0, utilization=0.5, arrivals_per_ms=0.1
    )
    assert edge_price_ms(edge, 10.0) == pytest.approx(2.0 * (4 * 10.0 + 0.1 * 100.0 / 2) / 2)
    link = replace(FAST_LINK, bandwidth_bytes_ms=10_000.0, waiting=3, queued_bytes=0.0, utilization=0.8)
    there = cloud(link=link, backlog_ms=20.0, utilization=0.6, mean_service_ms=10.0)
    plan = plans_for(slow_job(), NodeState(edge, (there,)), [there])[-1]
    on_link = 5.0 * (3 + 0.4) * 1.0
    in_cloud = 2.5 * (20.0 + 0.6 * 40.0 / 2) * 40.0 / 10.0
    assert price_ms(plan, edge) == pytest.approx(edge_price_ms(edge, 21.0) + on_link + in_cloud)


def test_utilization_counts_up_to_nine_tenths() -> None:
    prices = [edge_price_ms(busy_edge(utilization=rho), 10.0) for rho in (0.9, 1.0)]
    assert prices[0] == prices[1]


def test_alone_a_request_takes_the_fastest_way() -> None:
    state = NodeState(IDLE_EDGE, (cloud(),))
    for policy in (MarginalCost(), Neurosurgeon(), Greedy()):
        decision = policy.decide(slow_job(), state, Random(0))
        assert decision.where == HandOver("a:1", 1)
        assert decision.reason is Reason.CHEAPER


def test_greedy_stays_where_marginal_cost_spares_the_queue() -> None:
    """The cloud is slower for this request, but 30 others wait: selfish, it does not matter."""
    state = NodeState(busy_edge(waiting=30), (cloud(),))
    slower_away = replace(SLOW, tail_ms=(150.0, 140.0, 130.0))
    running = slow_job(1, profile=slower_away)
    assert Greedy().decide(running, state, Random(0)).where == Local()
    assert MarginalCost().decide(running, state, Random(0)).where == HandOver("a:1", 1)


def test_neurosurgeon_does_not_see_queues() -> None:
    crowded = NodeState(busy_edge(waiting=40), (cloud(backlog_ms=5000.0),))
    decision = Neurosurgeon().decide(slow_job(), crowded, Random(0))
    assert decision.where == HandOver("a:1", 1)
    assert decision.latency_ms > 5000.0


def test_at_admission_no_plan_is_left_out_for_its_deadline() -> None:
    state = NodeState(busy_edge(waiting=30), (cloud(),))
    decision = MarginalCost().decide(slow_job(deadline_ms=50.0), state, Random(0))
    assert isinstance(decision.where, HandOver)
    assert decision.latency_ms > 50.0


def test_a_running_request_stays_when_only_staying_is_in_time() -> None:
    slower_away = replace(SLOW, tail_ms=(150.0, 140.0, 130.0))
    state = NodeState(busy_edge(waiting=30), (cloud(),))
    decision = MarginalCost().decide(slow_job(1, profile=slower_away, deadline_ms=100.0), state, Random(0))
    assert decision.where == Local()
    assert decision.reason is Reason.DEADLINE


def test_a_running_request_leaves_when_no_plan_is_in_time() -> None:
    slower_away = replace(SLOW, tail_ms=(150.0, 140.0, 130.0))
    state = NodeState(busy_edge(waiting=30), (cloud(),))
    decision = MarginalCost().decide(slow_job(1, profile=slower_away, deadline_ms=80.0), state, Random(0))
    assert isinstance(decision.where, HandOver)


def test_a_plan_leaves_only_at_its_boundary() -> None:
    state = NodeState(IDLE_EDGE, (cloud(link=replace(FAST_LINK, bandwidth_bytes_ms=1000.0)),))
    at_arrival = MarginalCost().decide(slow_job(), state, Random(0))
    assert at_arrival.where == HandOver("a:1", 2)
    assert at_arrival.leaves_at(0) is None
    assert at_arrival.leaves_at(1) is None
    assert at_arrival.leaves_at(2) == "a:1"


@pytest.mark.parametrize(
    "unusable",
    [
        {"same_package": False},
        {"breaker": BreakerState.OPEN},
        {"breaker": BreakerState.HALF_OPEN},
        {"link": replace(FAST_LINK, rtt_ms=None)},
        {"link": replace(FAST_LINK, bandwidth_bytes_ms=None)},
    ],
)
def test_an_unusable_cloud_is_no_cloud(unusable: dict[str, object]) -> None:
    state = NodeState(busy_edge(waiting=30), (cloud(**unusable),))
    for name in ("marginal-cost", "neurosurgeon", "greedy", "fixed-boundary=1"):
        decision = parse_policy(name).decide(slow_job(), state, Random(0))
        assert decision.where == Local()
        assert decision.reason is Reason.NO_CLOUD


def test_a_cloud_that_refused_the_request_is_not_asked_again() -> None:
    state = NodeState(busy_edge(waiting=30), (cloud("a:1"), cloud("b:1")))
    decision = MarginalCost().decide(slow_job(1, excluded=frozenset({"a:1"})), state, Random(0))
    assert decision.where == HandOver("b:1", 1)


def test_two_of_many_clouds_are_looked_at_and_every_cloud_gets_its_turn() -> None:
    state = NodeState(busy_edge(), tuple(cloud(f"{n}:1") for n in range(5)))
    rng = Random(0)
    chosen = {MarginalCost().decide(slow_job(), state, rng).where for _ in range(100)}
    assert len(chosen) == 5


def test_edge_only_stays_and_says_so() -> None:
    decision = parse_policy("edge-only").decide(slow_job(), NodeState(busy_edge(), (cloud(),)), Random(0))
    assert decision.where == Local()
    assert decision.reason is Reason.EDGE_ONLY
    assert decision.latency_ms == pytest.approx(65.0 + 100.0)


@pytest.mark.parametrize(
    ("wanted", "at", "leaves", "reason"),
    [
        (2, 0, 2, Reason.FIXED_BOUNDARY),
        (0, 0, 1, Reason.PHOTOS_STAY),
        (1, 2, 2, Reason.FIXED_BOUNDARY),
        (3, 0, None, Reason.FIXED_BOUNDARY),
        (9, 0, None, Reason.FIXED_BOUNDARY),
    ],
)
def test_a_fixed_boundary_leaves_there_or_at_the_next_allowed_one(
    wanted: int, at: int, leaves: int | None, reason: Reason
) -> None:
    decision = FixedBoundary(wanted).decide(slow_job(at), NodeState(IDLE_EDGE, (cloud(),)), Random(0))
    assert decision.where == (Local() if leaves is None else HandOver("a:1", leaves))
    assert decision.reason is reason


def test_a_boundary_that_the_client_chose_is_told_as_forced() -> None:
    state = NodeState(IDLE_EDGE, (cloud(),))
    assert FixedBoundary(1, Reason.FORCED).decide(slow_job(), state, Random(0)).reason is Reason.FORCED


def test_a_burst_counts_those_that_no_worker_has_taken_yet() -> None:
    free = EdgeState(workers=2, waiting=1, residual_ms=(), mean_service_ms=20.0, utilization=0.0, arrivals_per_ms=0.0)
    assert free.wait_ms == 0.0
    assert replace(free, waiting=2).wait_ms == 20.0
    assert replace(free, residual_ms=(5.0, 7.0), waiting=0).wait_ms == 6.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"head_ms": (0.0,)},
        {"tail_ms": (1.0,)},
        {"allowed": (1, 7)},
    ],
)
def test_a_profile_that_does_not_fit_together_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="profile"):
        replace(YOLO, **wrong)

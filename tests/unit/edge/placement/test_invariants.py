"""What every decision keeps to, whatever the state."""

import math
from dataclasses import replace
from random import Random

import pytest
from edgedet_edge.placement import (
    AdmissionControl,
    Admitted,
    BreakerState,
    CloudState,
    Decision,
    EdgeState,
    HandOver,
    Job,
    Local,
    NodeState,
    can_still_finish,
    parse_policy,
)
from edgedet_edge.placement.marginal_cost import MarginalCost, edge_price_ms, price_ms
from edgedet_edge.placement.neurosurgeon import Neurosurgeon
from edgedet_edge.placement.plans import local_plan, plans_for, usable_clouds
from hypothesis import given, note
from hypothesis import strategies as st

from tests.unit.edge.placement.scenes import jobs, nodes

POLICIES = [parse_policy(name) for name in ("marginal-cost", "edge-only", "fixed-boundary=3", "neurosurgeon", "greedy")]
LONG = 1e9
"""A deadline in seconds after which no plan comes."""


# To draw a state takes longer than all policies' decisions on it.
@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_the_same_state_time_and_seed_give_the_same_decision(job: Job, state: NodeState, seed: int) -> None:
    for policy in POLICIES:
        assert policy.decide(job, state, Random(seed)) == policy.decide(job, state, Random(seed)), policy.name


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_a_handover_is_allowed_still_ahead_and_to_a_usable_cloud(job: Job, state: NodeState, seed: int) -> None:
    for policy in POLICIES:
        note(policy.name)
        _check_handover(policy.decide(job, state, Random(seed)), job, state)


def _check_handover(decision: Decision, job: Job, state: NodeState) -> None:
    if isinstance(decision.where, Local):
        return
    assert decision.where.boundary >= job.boundary
    assert decision.where.boundary in job.profile.allowed
    chosen = next(cloud for cloud in state.clouds if cloud.address == decision.where.cloud)
    assert chosen.breaker is BreakerState.CLOSED
    assert chosen.same_package
    assert chosen.address not in job.excluded
    assert chosen.link.rtt_ms is not None
    assert chosen.link.bandwidth_bytes_ms


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_predictions_and_prices_are_finite(job: Job, state: NodeState, seed: int) -> None:
    for policy in POLICIES:
        decision = policy.decide(job, state, Random(seed))
        for value in (decision.latency_ms, decision.cost_ms, decision.edge_ms):
            assert math.isfinite(value), policy.name
            assert value >= 0.0, policy.name


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_without_load_marginal_cost_is_neurosurgeon(job: Job, state: NodeState, seed: int) -> None:
    job = replace(job, deadline_s=job.now_s + LONG)
    idle = _without_load(state)
    selfless = MarginalCost().decide(job, idle, Random(seed))
    alone = Neurosurgeon().decide(job, idle, Random(seed))
    assert selfless.latency_ms == pytest.approx(alone.latency_ms)
    assert selfless.cost_ms == pytest.approx(selfless.latency_ms)


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9), more=st.integers(1, 50))
def test_a_longer_edge_queue_never_moves_work_to_the_edge(job: Job, state: NodeState, seed: int, more: int) -> None:
    job = replace(job, deadline_s=job.now_s + LONG, queued=False)
    busier = replace(state, edge=replace(state.edge, waiting=state.edge.waiting + more))
    before, after = _choices(job, state, busier, seed)
    assert _no_more(after.edge_ms, before.edge_ms)


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9), utilization=st.floats(0.0, 1.0))
def test_a_busier_edge_never_moves_work_to_the_edge(job: Job, state: NodeState, seed: int, utilization: float) -> None:
    job = replace(job, deadline_s=job.now_s + LONG, queued=False)
    busier = replace(state, edge=replace(state.edge, utilization=max(utilization, state.edge.utilization)))
    before, after = _choices(job, state, busier, seed)
    assert _no_more(after.edge_ms, before.edge_ms)


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9), more=st.integers(0, 50), utilization=st.floats(0.0, 1.0))
def test_a_busier_link_never_draws_more_bytes(
    job: Job, state: NodeState, seed: int, more: int, utilization: float
) -> None:
    if not state.clouds:
        return
    job = replace(job, deadline_s=job.now_s + LONG)
    link = state.clouds[0].link
    link = replace(link, waiting=link.waiting + more, utilization=max(utilization, link.utilization))
    busier = _with_first_cloud(state, replace(state.clouds[0], link=link))
    before, after = _choices(job, state, busier, seed)
    address = state.clouds[0].address
    assert _no_more(_bytes_to(address, after, job), _bytes_to(address, before, job))


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9), utilization=st.floats(0.0, 1.0))
def test_a_busier_cloud_never_draws_longer_tails(job: Job, state: NodeState, seed: int, utilization: float) -> None:
    """With what is on its way left out: it is a wait that differs from plan to plan."""
    if not state.clouds:
        return
    job = replace(job, deadline_s=job.now_s + LONG)
    first = replace(state.clouds[0], own_ms=0.0)
    calm = _with_first_cloud(state, first)
    busier = _with_first_cloud(state, replace(first, utilization=max(utilization, first.utilization)))
    before, after = _choices(job, calm, busier, seed)
    assert _no_more(_tail_at(first, after, job), _tail_at(first, before, job))


@given(job=jobs(), state=nodes())
def test_prices_are_finite_and_grow_with_the_work(job: Job, state: NodeState) -> None:
    full = replace(state.edge, utilization=1.0)
    for plan in plans_for(job, state, usable_clouds(job, state)):
        assert 0.0 <= price_ms(plan, full) < math.inf
    assert edge_price_ms(full, 1.0) <= edge_price_ms(full, 2.0) < math.inf


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9), margin=st.floats(0.1, 0.45))
def test_an_idle_node_admits_whatever_some_plan_can_do_in_time(
    job: Job, state: NodeState, seed: int, margin: float
) -> None:
    job = replace(job, boundary=0, deadline_s=job.now_s + LONG)
    idle = _without_load(replace(state, clouds=state.clouds[:2]))
    plans = [local_plan(job, idle), *plans_for(job, idle, usable_clouds(job, idle))]
    deadline_ms = min(plan.latency_ms for plan in plans) / (1.0 - margin) * (1.0 + 1e-9)
    decision = MarginalCost().decide(job, idle, Random(seed))
    assert isinstance(
        AdmissionControl(margin).admit(decision.latency_ms, deadline_ms, Random(seed), idle=False), Admitted
    )


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_what_is_planned_in_time_can_still_finish(job: Job, state: NodeState, seed: int) -> None:
    decision = MarginalCost().decide(job, state, Random(seed))
    if decision.latency_ms <= job.remaining_ms:
        assert can_still_finish(job, state)


@given(job=jobs(), state=nodes(), seed=st.integers(0, 9))
def test_a_running_request_is_not_handed_over_too_late_while_staying_is_in_time(
    job: Job, state: NodeState, seed: int
) -> None:
    job = replace(job, queued=False, boundary=max(job.boundary, 1)) if job.profile.last > 1 else job
    decision = MarginalCost().decide(job, state, Random(seed))
    home_ms = job.profile.head_ms[-1] - job.profile.head_ms[job.boundary]
    if job.boundary > 0 and isinstance(decision.where, HandOver) and home_ms <= job.remaining_ms:
        assert decision.latency_ms <= job.remaining_ms


def _choices(job: Job, before: NodeState, after: NodeState, seed: int) -> tuple[Decision, Decision]:
    policy = MarginalCost()
    return policy.decide(job, before, Random(seed)), policy.decide(job, after, Random(seed))


def _no_more(after: float, before: float) -> bool:
    """Rounding may break a tie either way."""
    return after <= before * (1.0 + 1e-9) + 1e-9


def _bytes_to(address: str, decision: Decision, job: Job) -> float:
    where = decision.where
    sent = isinstance(where, HandOver) and where.cloud == address
    return job.profile.wire_bytes[where.boundary] if sent else 0.0  # type: ignore[union-attr]


def _tail_at(cloud: CloudState, decision: Decision, job: Job) -> float:
    where = decision.where
    sent = isinstance(where, HandOver) and where.cloud == cloud.address
    return cloud.expected_tail_ms(job.profile, where.boundary) if sent else 0.0  # type: ignore[union-attr]


def _with_first_cloud(state: NodeState, first: CloudState) -> NodeState:
    return replace(state, clouds=(first, *state.clouds[1:]))


def _without_load(state: NodeState) -> NodeState:
    edge: EdgeState = replace(state.edge, waiting=0, residual_ms=(), utilization=0.0, arrivals_per_ms=0.0)
    clouds = tuple(
        replace(
            cloud,
            backlog_ms=0.0,
            own_ms=0.0,
            utilization=0.0,
            link=replace(cloud.link, waiting=0, queued_bytes=0.0, transfer_bytes=0.0, utilization=0.0),
        )
        for cloud in state.clouds
    )
    return NodeState(edge, clouds)

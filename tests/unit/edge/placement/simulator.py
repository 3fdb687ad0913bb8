"""A discrete-event simulation of one edge node around the very policy, trackers, admission and hedging of the real one.

The physics: an edge of FIFO workers, one uplink per cloud that carries one tensor at a time, clouds of FIFO workers
that refuse what cannot meet its deadline. The logic follows the real node's: decide at admission, at service start and
at every boundary; fall back, hedge, probe. Times are seconds unless a name says milliseconds.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from edgedet_edge.placement import (
    REARM_MS,
    AdmissionControl,
    Admitted,
    BreakerState,
    CloudReport,
    CloudTracker,
    Decision,
    EdgeTracker,
    Hedging,
    ModelProfile,
    NodeState,
    Policy,
    can_still_finish,
)
from edgedet_edge.placement import Job as Standing
from edgedet_edge.placement.estimators import ServiceTime

from tests.unit.edge.placement.simulated_world import Call, Clock, Outcome, SimCloud, SimJob

_NOISE = 0.07
"""Relative standard deviation of a segment's time."""


@dataclass(slots=True)
class Node:
    """The edge node."""

    profile: ModelProfile
    policy: Policy
    clouds: Sequence[SimCloud]
    clock: Clock
    workers: int = 2
    deadline_ms: float = 230.0
    seed: int = 0
    probing: bool = True
    jobs: list[SimJob] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    waiting: deque[SimJob] = field(default_factory=deque)
    running: int = 0
    edge: EdgeTracker = field(init=False)
    trackers: dict[str, CloudTracker] = field(init=False)
    wires: dict[str, deque[Call]] = field(init=False)
    admission: AdmissionControl = field(default_factory=AdmissionControl)
    hedging: Hedging = field(default_factory=Hedging)
    _rng: Random = field(init=False)
    _noise: Random = field(init=False)

    def __post_init__(self) -> None:
        self.edge = EdgeTracker(self.workers, ServiceTime(self.profile.head_ms[-1]))
        self.trackers = {cloud.address: CloudTracker(cloud.address) for cloud in self.clouds}
        self.wires = {cloud.address: deque() for cloud in self.clouds}
        self._rng, self._noise = Random(self.seed), Random(self.seed + 1)
        for cloud in self.clouds:
            self.trackers[cloud.address].round_trip.observe(cloud.rtt_ms, 0.0)

    # Admission

    def arrive(self) -> None:
        """A photo is posted."""
        now_s = self.clock.now_s
        job = SimJob(now_s, now_s + self.deadline_ms / 1000.0, [])
        self.jobs.append(job)
        decision = self._decide(job, queued=True)
        idle = self.edge.state(self.clock.now_s).idle
        if not isinstance(self.admission.admit(decision.latency_ms, self.deadline_ms, self._rng, idle=idle), Admitted):
            job.answers.append((now_s, "refused"))
            return
        self.edge.admitted(now_s)
        self.clock.at(job.deadline_s, lambda: self._missed(job))
        self._go_on(job, decision)

    def _go_on(self, job: SimJob, decision: Decision) -> None:
        """To the cloud at once, or into the queue."""
        cloud = decision.leaves_at(job.boundary)
        if cloud is not None:
            self._hand_over(job, cloud, decision)
        else:
            self.waiting.append(job)
            self.edge.queued()
            self._dispatch()

    # Workers

    def _dispatch(self) -> None:
        while self.waiting and self.running < self.workers:
            job = self.waiting.popleft()
            self.edge.started(job, self.clock.now_s)
            self.running += 1
            if job.answers or not can_still_finish(self._standing(job, queued=False), self._state()):
                self._missed(job)
                self._release(job)
            else:
                self._step(job)

    def _step(self, job: SimJob) -> None:
        if job.answers:
            self._release(job)
            return
        decision = self._decide(job, queued=False)
        self.edge.decided(job, decision.edge_ms, self.clock.now_s)
        cloud = decision.leaves_at(job.boundary)
        if cloud is not None:
            self._work(self.profile.encode_ms[job.boundary], lambda: self._leave(job, cloud, decision))
        elif job.boundary > 0 and (probed := self._due_probe(job.boundary)):
            self._work(self.profile.encode_ms[job.boundary], lambda: self._probe(job, probed))
        else:
            self._segment(job)

    def _segment(self, job: SimJob) -> None:
        work_ms = self.profile.head_ms[job.boundary + 1] - self.profile.head_ms[job.boundary]
        self._work(work_ms, lambda: self._segment_done(job))

    def _segment_done(self, job: SimJob) -> None:
        job.boundary += 1
        if job.boundary < self.profile.last:
            self._step(job)
        else:
            self._answer(job, "local")
            self._release(job)

    def _leave(self, job: SimJob, cloud: str, decision: Decision) -> None:
        self._hand_over(job, cloud, decision)
        self._release(job)

    def _release(self, job: SimJob) -> None:
        self.running -= 1
        self.edge.ended(job, self.clock.now_s)
        self._dispatch()

    # Handovers

    def _hand_over(self, job: SimJob, address: str, decision: Decision) -> None:
        call = self._call(job, address, decision.latency_ms, shadow=False)
        self.counts["handovers"] += 1
        self.hedging.handed_over()
        self.clock.after(self.hedging.timer_ms(call.predicted_ms), lambda: self._overdue(call, address))

    def _probe(self, job: SimJob, address: str) -> None:
        self.trackers[address].probes.asked(self.clock.now_s)
        self.counts["probes"] += 1
        call = self._call(job, address, 0.0, shadow=True)
        self.clock.after(self.deadline_ms, lambda: self._overdue(call, address))
        self._segment(job)

    def _call(self, job: SimJob, address: str, predicted_ms: float, *, shadow: bool) -> Call:
        now_s = self.clock.now_s
        deadline_s = now_s + self.deadline_ms / 1000.0 if shadow else job.deadline_s
        call = Call(job, job.boundary, deadline_s, predicted_ms, shadow, now_s)
        self.trackers[address].queued(call, self.profile.wire_bytes[call.boundary], self._tail_ms(address, call))
        self.wires[address].append(call)
        self.clock.at(deadline_s, lambda: self._expire(call, address))
        if len(self.wires[address]) == 1:
            self._send(address)
        return call

    def _send(self, address: str) -> None:
        call, cloud, now_s = self.wires[address][0], self._cloud(address), self.clock.now_s
        self.trackers[address].sending(call, now_s)
        wire_ms = self.profile.wire_bytes[call.boundary] / cloud.bandwidth_bytes_ms
        self.clock.after(wire_ms, lambda: self._sent(address, call, wire_ms))

    def _sent(self, address: str, call: Call, wire_ms: float) -> None:
        cloud, tracker, now_s = self._cloud(address), self.trackers[address], self.clock.now_s
        tracker.sent(call, now_s)
        self.wires[address].popleft()
        if self.wires[address]:
            self._send(address)
        tail_ms = self._tail_ms(address, call) * max(0.2, self._noise.gauss(1.0, _NOISE))

        def reply(how: str) -> None:
            report = cloud.report(self.clock.now_s)
            self.clock.after(cloud.rtt_ms / 2, lambda: self._replied(address, call, how, report, wire_ms))

        self.clock.after(cloud.rtt_ms / 2, lambda: cloud.arrive(call, tail_ms, self.clock, reply))

    def _replied(self, address: str, call: Call, how: str, report: CloudReport, wire_ms: float) -> None:
        tracker, now_s = self.trackers[address], self.clock.now_s
        call.ended = True
        if call.shadow:
            tracker.probes.ended()
        if how == "broken":
            tracker.gone(call, now_s)
            tracker.breaker.failed(now_s, self._rng)
        else:
            tracker.bandwidth.observe(self.profile.wire_bytes[call.boundary], wire_ms, now_s)
            if not call.late:
                tracker.breaker.succeeded()
            tracker.replied(call, report, now_s)
        if call.shadow or call.job.answers:
            return
        if how == "done":
            self.hedging.answered(call.predicted_ms, (now_s - call.queued_s) * 1000.0)
            self._answer(call.job, "remote")
        elif address not in call.job.excluded:
            self._go_home(call.job, address)

    def _go_home(self, job: SimJob, address: str) -> None:
        """Decide again without that cloud; fail where nothing is in time."""
        job.excluded |= {address}
        decision = self._decide(job, queued=True)
        if decision.latency_ms > (job.deadline_s - self.clock.now_s) * 1000.0:
            self._missed(job)
        else:
            self._go_on(job, decision)

    def _expire(self, call: Call, address: str) -> None:
        self.trackers[address].gone(call, self.clock.now_s)
        if call in list(self.wires[address])[1:]:
            self.wires[address].remove(call)

    def _overdue(self, call: Call, address: str) -> None:
        tracker, now_s = self.trackers[address], self.clock.now_s
        if call.ended:
            return
        if tracker.on_own_wire(call):
            self.clock.after(REARM_MS, lambda: self._overdue(call, address))
            return
        tracker.breaker.came_late(now_s, self._rng)
        call.late = True
        if call.shadow:
            tracker.probes.ended()
            return
        job = call.job
        is_open = tracker.breaker.state(now_s) is not BreakerState.CLOSED
        if not job.answers and self.hedging.take(self.edge.utilization(now_s), breaker_open=is_open):
            self.counts["hedges with the breaker open" if is_open else "hedges"] += 1
            self._go_home(SimJob(job.arrived_s, job.deadline_s, job.answers, call.boundary, job.excluded), address)

    # Ends

    def _answer(self, job: SimJob, how: str) -> None:
        if not job.answers:
            job.answers.append((self.clock.now_s, how))
            self.admission.ended(missed=False)

    def _missed(self, job: SimJob) -> None:
        if not job.answers:
            job.answers.append((self.clock.now_s, "missed"))
            self.admission.ended(missed=True)

    # What the policy sees

    def _decide(self, job: SimJob, *, queued: bool) -> Decision:
        return self.policy.decide(self._standing(job, queued=queued), self._state(), self._rng)

    def _standing(self, job: SimJob, *, queued: bool) -> Standing:
        return Standing(self.profile, job.boundary, self.clock.now_s, job.deadline_s, queued, job.excluded)

    def _state(self) -> NodeState:
        now_s = self.clock.now_s
        clouds = tuple(
            self.trackers[cloud.address].state(now_s, tail_ms=tuple(t / cloud.speed for t in self.profile.tail_ms))
            for cloud in self.clouds
        )
        return NodeState(self.edge.state(now_s), clouds)

    def _due_probe(self, boundary: int) -> str | None:
        if not self.probing or boundary != min(
            self.profile.allowed, key=lambda k: self.profile.wire_bytes[k], default=None
        ):
            return None
        nbytes = self.profile.wire_bytes[boundary]
        due = (a for a, tracker in self.trackers.items() if tracker.probe_due(self.clock.now_s, nbytes))
        return next(due, None)

    def _tail_ms(self, address: str, call: Call) -> float:
        return self.profile.tail_ms[call.boundary] / self._cloud(address).speed

    def _cloud(self, address: str) -> SimCloud:
        return next(cloud for cloud in self.clouds if cloud.address == address)

    def _work(self, work_ms: float, done: Callable[[], None]) -> None:
        self.clock.after(work_ms * max(0.2, self._noise.gauss(1.0, _NOISE)), done)


def simulate(node: Node, times_s: Sequence[float]) -> list[Outcome]:
    """Photos at these times; every one with exactly one outcome.

    Raises:
        AssertionError: a photo was lost or answered twice.
    """
    for when_s in times_s:
        node.clock.at(when_s, node.arrive)
    node.clock.run()
    assert len(node.jobs) == len(times_s)
    assert all(len(job.answers) == 1 for job in node.jobs), "lost or answered twice"
    return [Outcome(job.arrived_s, *job.answers[0]) for job in node.jobs]

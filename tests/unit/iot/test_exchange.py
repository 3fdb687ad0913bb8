"""The rules of a request, driven by hand: outcomes are told, the clock is ours."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
from edgedet_iot import DeadlineMissed, Draining, EdgeFailed, NotAnAnswer, Overloaded, PhotoRejected, Unreachable
from edgedet_iot.edge_pool import EdgePool
from edgedet_iot.exchange import Answered, Outcome, Patience, Send, Wait, exchange

A, B = "http://a:1", "http://b:1"
TRY_S = 0.05
"""What a try takes on the clock here."""


def answer(status: int, **headers: str) -> httpx.Response:
    document = {"status": status, "title": f"title {status}", "detail": f"detail {status}", "request_id": "r1"}
    return httpx.Response(status, json=document, headers=headers)


REFUSED = httpx.ConnectError("Connection refused")
SILENT = httpx.ReadTimeout("")


@dataclass
class Play:
    """Plays the network: what each edge does, in turn; the last thing again and again."""

    behavior: dict[str, list[Outcome]]
    pool: EdgePool = field(default_factory=lambda: EdgePool([A, B]))
    jitter: Callable[[], float] = lambda: 0.0
    now_s: float = 100.0
    oversleep_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)

    def run(self, retries: int = 3, deadline_s: float = 10.0) -> Answered:
        patience = Patience(self.now_s + deadline_s, retries, grace_s=0.5)
        rules = exchange(self.pool, patience, lambda: self.now_s, self.jitter)
        step = next(rules)
        while not isinstance(step, Answered):
            step = rules.send(self._take(step))
        return step

    def _take(self, step: Send | Wait) -> Outcome | None:
        if isinstance(step, Wait):
            self.waits.append(step.seconds)
            self.now_s += step.seconds + self.oversleep_s
            return None
        self.sends.append(step)
        self.asked.append(step.edge)
        self.now_s += TRY_S
        todo = self.behavior[step.edge]
        return todo.pop(0) if len(todo) > 1 else todo[0]


def test_the_first_edge_answers():
    play = Play({A: [answer(200)], B: [answer(200)]})
    assert play.run().edge == A
    assert play.asked == [A]


def test_an_unreachable_edge_is_left_for_the_next_at_once_and_without_a_retry():
    play = Play({A: [REFUSED], B: [answer(200)]})
    assert play.run(retries=0).edge == B
    assert play.asked == [A, B]
    assert play.waits == []


def test_the_next_photo_goes_straight_to_the_living_edge():
    play = Play({A: [REFUSED], B: [answer(200)]})
    play.run()
    play.asked.clear()
    play.run()
    assert play.asked == [B]


def test_a_draining_edge_is_left_like_a_dead_one():
    play = Play({A: [answer(503)], B: [answer(200)]})
    assert play.run(retries=0).edge == B
    play.asked.clear()
    play.run()
    assert play.asked == [B]


def test_an_overloaded_edge_costs_a_retry_and_is_no_dead_edge():
    play = Play({A: [answer(429, **{"Retry-After": "1"}), answer(200)], B: [answer(200)]})
    assert play.run(retries=1).edge == B
    play.asked.clear()
    assert play.run().edge == A


def test_without_retries_a_refusal_is_final():
    play = Play({A: [answer(429, **{"Retry-After": "2"})], B: [answer(200)]})
    with pytest.raises(Overloaded) as caught:
        play.run(retries=0)
    assert caught.value.retry_after_s == 2
    assert caught.value.edge == A
    assert play.asked == [A]


def test_no_edge_is_asked_again_before_its_retry_after():
    play = Play(
        {A: [answer(429, **{"Retry-After": "3"})], B: [answer(429, **{"Retry-After": "1"}), answer(200)]},
        jitter=lambda: 0.5,
    )
    assert play.run(retries=5).edge == B
    assert play.asked == [A, B, B]
    assert play.waits == [pytest.approx(1.125)]  # 1 s and the spread


def test_a_retry_after_beyond_the_deadline_is_not_waited_for():
    play = Play({A: [answer(429, **{"Retry-After": "11"})], B: [answer(429, **{"Retry-After": "12"})]})
    with pytest.raises(Overloaded):
        play.run(retries=5, deadline_s=10)
    assert play.waits == []


def test_a_wait_that_took_too_long_ends_with_what_the_edge_said():
    play = Play({A: [answer(429, **{"Retry-After": "9"})]}, pool=EdgePool([A]), oversleep_s=1.0)
    with pytest.raises(Overloaded):
        play.run(retries=5, deadline_s=9.5)
    assert play.waits == [pytest.approx(9)]
    assert play.asked == [A]


def test_without_a_deadline_every_try_has_the_longest_that_an_edge_takes():
    play = Play({A: [answer(500), answer(200)], B: [REFUSED]})
    play.run(deadline_s=math.inf)
    assert [send.remaining_s for send in play.sends] == [600] * 3
    assert play.sends[0].timeout.read == pytest.approx(600.5)


def test_every_try_tells_the_time_that_is_left():
    play = Play({A: [answer(429, **{"Retry-After": "1"})], B: [answer(500), answer(200)]})
    play.run(deadline_s=10)
    left = [send.remaining_s for send in play.sends]
    assert left[0] == pytest.approx(10)
    assert left == sorted(left, reverse=True)
    assert left[1] == pytest.approx(10 - TRY_S)
    assert play.sends[0].timeout.read == pytest.approx(10.5)
    assert play.sends[0].timeout.connect == pytest.approx(1.0)


def test_failures_back_off_exponentially_and_end_with_the_retries():
    play = Play({A: [answer(500)]}, pool=EdgePool([A]))
    with pytest.raises(EdgeFailed) as caught:
        play.run(retries=3)
    assert play.asked == [A] * 4
    assert play.waits == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.4)]
    assert caught.value.problem.title == "title 500"


def test_when_no_edge_can_be_reached_all_are_tried_again():
    play = Play({A: [REFUSED], B: [REFUSED]})
    with pytest.raises(Unreachable, match="Connection refused"):
        play.run(retries=1)
    assert sorted(play.asked[:2]) == [A, B]
    assert len(play.asked) == 3


def test_a_rejected_photo_is_not_sent_again():
    play = Play({A: [answer(415)], B: [answer(200)]})
    with pytest.raises(PhotoRejected, match="415 title 415: detail 415") as caught:
        play.run()
    assert play.asked == [A]
    assert caught.value.problem.request_id == "r1"


def test_a_photo_that_was_cut_off_on_its_way_is_sent_again():
    play = Play({A: [answer(408)], B: [answer(200)]})
    assert play.run().edge == B


def test_the_edges_own_504_is_final_and_the_edge_stays_alive():
    play = Play({A: [answer(504), answer(200)], B: [answer(200)]})
    with pytest.raises(DeadlineMissed) as caught:
        play.run()
    assert caught.value.answered
    assert play.run().edge == A


def test_silence_until_the_deadline_puts_the_edge_to_rest():
    play = Play({A: [SILENT], B: [answer(200)]})
    with pytest.raises(DeadlineMissed) as caught:
        play.run()
    assert not caught.value.answered
    assert play.run().edge == B


def test_a_photo_that_is_late_already_is_not_sent():
    play = Play({A: [answer(200)]})
    with pytest.raises(DeadlineMissed) as caught:
        play.run(deadline_s=-0.1)
    assert caught.value.edge == ""
    assert play.asked == []


def test_a_redirect_is_no_answer():
    play = Play({A: [httpx.Response(302, headers={"Location": "http://c"})]})
    with pytest.raises(NotAnAnswer, match="302"):
        play.run()


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"[1, 2]", b'{"title": null}'])
def test_a_refusal_that_is_no_problem_document_is_told_by_its_status(body):
    play = Play({A: [httpx.Response(503, content=body)]}, pool=EdgePool([A]))
    with pytest.raises(Draining) as caught:
        play.run(retries=0)
    assert caught.value.problem.status == 503

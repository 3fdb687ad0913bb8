"""Systems take turns, and what does not count is not timed."""

from functools import partial

from edgedet_evaluation.paired_timing import take_turns


def test_who_begins_changes_and_runs_that_settle_the_caches_come_before_each_turn():
    called: list[str] = []
    systems = {name: partial(called.append, name) for name in "ab"}
    times = take_turns(systems, rounds=2, warm_up=1, settle=1)
    assert "".join(called) == "aabb" + "bbaa" + "aabb"
    assert {name: len(spent) for name, spent in times.items()} == {"a": 2, "b": 2}


def test_runs_that_settle_the_caches_are_not_timed():
    numbers = iter(range(100))

    def every_other_is_slow() -> int:
        return sum(range(2_000_000 if next(numbers) % 2 == 0 else 10))

    (settled,) = take_turns({"slow first": every_other_is_slow}, rounds=5, warm_up=0, settle=1).values()
    (unsettled,) = take_turns({"every one": lambda: sum(range(2_000_000))}, rounds=5, warm_up=0).values()
    assert max(settled) < min(unsettled)

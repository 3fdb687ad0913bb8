"""Times of several systems, paired: they take turns, so that each round gives one ratio of every two.

Times are processor time of the thread that runs, which a busy neighbor hardly touches; ratios hold where the machine's
speed drifts, which single times do not.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from edgedet_evaluation.intervals import Estimate, median_interval

System = Callable[[], object]


def take_turns(systems: Mapping[str, System], rounds: int, warm_up: int = 3, settle: int = 0) -> dict[str, list[float]]:
    """Milliseconds of every system in every round after `warm_up` more; who begins changes from round to round.

    A turn begins with `settle` runs that are not timed: then the caches hold what the system itself has left there, as
    where it runs alone, and not the others' data.
    """
    names = list(systems)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + warm_up):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            for _ in range(settle):
                systems[name]()
            began_ns = time.thread_time_ns()
            systems[name]()
            if number >= warm_up:
                times[name].append((time.thread_time_ns() - began_ns) / 1e6)
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Median of the rounds' ratios `above` / `below` with its 95 % interval."""
    return median_interval([a / b for a, b in zip(above, below, strict=True)])

"""The linear program on cases worked out by hand."""

import pytest

from benchmarks.optimum import best_mix

LOCAL = {"edge": 20.0}
SPLIT = {"edge": 5.0, "link": 40.0, "cloud": 15.0}


def test_without_a_cloud_the_edge_alone_sets_the_rate() -> None:
    best = best_mix({"local": LOCAL}, {"edge": 1000.0})
    assert best.total == pytest.approx(50.0)
    assert best.rates == pytest.approx({"local": 50.0})


def test_edge_and_cloud_are_both_used_up() -> None:
    # cloud: 1000 / 15 = 66.7 split; they take 333.3 of the edge; the other 666.7 make 33.3 local.
    best = best_mix({"local": LOCAL, "split": SPLIT}, {"edge": 1000.0, "link": 1e6, "cloud": 1000.0})
    assert best.rates == pytest.approx({"local": 100.0 / 3, "split": 200.0 / 3})
    assert best.total == pytest.approx(100.0)


def test_a_slow_link_limits_splitting() -> None:
    best = best_mix({"local": LOCAL, "split": SPLIT}, {"edge": 1000.0, "link": 800.0, "cloud": 1000.0})
    assert best.rates == pytest.approx({"local": 45.0, "split": 20.0})


def test_refused_photos_cost_too() -> None:
    # 100 offered; each refused takes 1 of 1000: x·20 + (100 - x)·1 = 1000 → x = 900 / 19.
    best = best_mix({"local": LOCAL}, {"edge": 1000.0}, offered=100.0, refusal={"edge": 1.0})
    assert best.total == pytest.approx(900.0 / 19.0)


def test_no_more_is_answered_than_offered() -> None:
    assert best_mix({"local": LOCAL}, {"edge": 1000.0}, offered=30.0).total == pytest.approx(30.0)


def test_the_best_mix_of_three_beats_every_pair() -> None:
    costs = {"local": LOCAL, "early": {"edge": 2.0, "link": 100.0, "cloud": 18.0}, "late": {"edge": 12.0, "cloud": 8.0}}
    capacities = {"edge": 1000.0, "link": 3000.0, "cloud": 1000.0}
    best = best_mix(costs, capacities)
    for left_out in costs:
        pair = {way: cost for way, cost in costs.items() if way != left_out}
        assert best_mix(pair, capacities).total <= best.total + 1e-9


@pytest.mark.parametrize(
    ("costs", "message"),
    [({"local": {"moon": 1.0}}, "moon"), ({"local": {"edge": -1.0}}, "negative")],
)
def test_costs_that_make_no_sense_are_refused(costs: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_mix(costs, {"edge": 1.0})


def test_refusals_beyond_capacity_are_told() -> None:
    with pytest.raises(ValueError, match="linear program"):
        best_mix({"local": LOCAL}, {"edge": 1000.0}, offered=1e6, refusal={"edge": 1.0})

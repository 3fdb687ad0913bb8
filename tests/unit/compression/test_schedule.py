"""The learning rate over a training, what decays, and what precision means."""

import pytest
import torch
from edgedet_compression.training.optimizer import one_cycle, sgd
from edgedet_compression.training.precision import autocast, dtype_of
from edgedet_compression.training.schedule import Schedule
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

pytestmark = pytest.mark.needs_torch

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def rates(schedule: Schedule, steps: int) -> list[float]:
    """The learning rate of every step."""
    optimizer = sgd(schedule, nn.Linear(1, 1))
    scheduler = one_cycle(schedule, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("shape", ["triangular", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls(shape: str):
    found = rates(Schedule(epochs=1, batch=1, lr=2.0, shape=shape, warmup=0.2, first_lr=0.1, last_lr=0.01), 499)
    peak = found.index(max(found))
    assert peak == 99  # a fifth of all
    assert found[peak] == pytest.approx(2.0)
    assert found[0] == pytest.approx(0.2)
    assert found[-1] == pytest.approx(0.02, abs=0.01)
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


def test_a_triangle_has_straight_sides():
    found = rates(Schedule(epochs=1, batch=1, lr=1.0, warmup=0.5, first_lr=0.0, last_lr=0.0), 199)
    assert found[50] == pytest.approx(50 / 99, abs=1e-3)
    assert found[149] == pytest.approx(0.5, abs=0.01)


@given(
    st.integers(1, 60),
    st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.sampled_from(["triangular", "cosine"]),
)
def test_every_length_and_shape_gives_rates_up_to_the_peak(steps, warmup, first_lr, last_lr, shape):
    schedule = Schedule(
        epochs=1, batch=1, lr=0.5, warmup=warmup, first_lr=first_lr, last_lr=last_lr, shape=shape
    )  # fmt: skip
    assert all(0 <= rate <= 0.5 * (1 + 1e-9) for rate in rates(schedule, steps))


def test_only_weights_of_layers_decay():
    weights, others = sgd(Schedule(epochs=1, batch=1, lr=1.0, weight_decay=0.1), NETWORK).param_groups
    assert weights["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert {id(p) for p in weights["params"]} == {id(NETWORK[0].weight), id(NETWORK[3].weight)}
    assert len(others["params"]) == 4


def test_what_does_not_learn_is_not_moved():
    network = nn.Linear(2, 2)
    network.weight.requires_grad_(requires_grad=False)
    weights, others = sgd(Schedule(epochs=1, batch=1, lr=1.0), network).param_groups
    assert weights["params"] == []
    assert len(others["params"]) == 1


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_activations(precision: str, dtype: torch.dtype):
    schedule = Schedule(epochs=1, batch=1, lr=1.0, precision=precision)
    assert dtype_of(schedule.precision) is dtype
    with autocast(dtype):
        assert NETWORK[0](torch.rand(1, 3, 4, 4)).dtype is dtype


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"lr": 0}, {"warmup": 1.1}, {"ema": -0.1}, {"seed": -1}, {"epoch": 3}, {"shape": "step"},
        {"ema": 1}, {"momentum": 1}, {"label_smoothing": 1},
    ],
)  # fmt: skip
def test_wrong_choices_are_refused_by_their_field(wrong: dict):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Schedule(**{"epochs": 1, "batch": 1, "lr": 1.0, **wrong})

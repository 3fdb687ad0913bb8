"""LSQ, TQT and PACT: codes on their grids, values back, and the gradients that their papers give."""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from edgedet_compression.quantization.lsq import Lsq
from edgedet_compression.quantization.pact import Pact, clip_penalty
from edgedet_compression.quantization.quantizer import Grid, Quantizer, least_squares_scale, round_through
from edgedet_compression.quantization.tqt import Tqt
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.needs_torch

WEIGHTS, ACTIVATIONS, SUMS = Grid(-7, 7), Grid(0, 15), Grid(-128, 127)
VALUES = arrays.arrays(np.float32, (4, 6), elements=st.floats(-8, 8, width=32))
SCALES = st.floats(2**-6, 2.0)


def every_quantizer(scale: float) -> list[Quantizer]:
    found: list[Quantizer] = [
        Lsq(WEIGHTS), Lsq(WEIGHTS, 4), Lsq(ACTIVATIONS, batched=True), Lsq(SUMS, batched=True), Tqt(WEIGHTS),
        Tqt(WEIGHTS, 4), Pact(ACTIVATIONS),
    ]  # fmt: skip
    for quantizer in found:
        quantizer.set_scale(torch.tensor(scale))
    return found


@settings(max_examples=40)
@given(VALUES, SCALES)
def test_every_quantizer_ends_on_its_grid_and_rounds_as_its_codes_say(values: np.ndarray, scale: float):
    exact = torch.from_numpy(values)
    for quantizer in every_quantizer(scale):
        codes = quantizer.codes(exact)
        grid = quantizer.grid
        assert torch.equal(codes, codes.round())
        assert grid.low <= codes.min()
        assert codes.max() <= grid.high
        assert torch.equal(quantizer.codes(quantizer.dequantize(codes)), codes)
        torch.testing.assert_close(quantizer.fake_quantize(exact), quantizer.dequantize(codes), rtol=1e-6, atol=1e-6)
        inside = (exact >= grid.low * quantizer.scale.max()) & (exact <= grid.high * quantizer.scale.min())
        error = (quantizer.dequantize(codes) - exact).abs()
        assert (error[inside] <= quantizer.scale.max() * 0.50001).all()


def composed_lsq(values: torch.Tensor, step: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Equation 1 of LSQ out of torch's own operations, whose gradients torch finds."""
    return round_through((values / step).clamp(grid.low, grid.high)) * step


@settings(max_examples=40)
@given(VALUES, SCALES, st.sampled_from([WEIGHTS, ACTIVATIONS, SUMS]), st.sampled_from([1, 4]))
@example(np.full((4, 6), -6e-8, np.float32), 1.0, ACTIVATIONS, 1)
@example(np.full((4, 6), 15.0, np.float32), 1.0, ACTIVATIONS, 1)
def test_lsq_has_the_gradients_of_its_composition(values: np.ndarray, scale: float, grid: Grid, steps: int):
    quantizer = Lsq(grid, steps)
    quantizer.set_scale(torch.full((steps,), scale))
    own, other = (torch.from_numpy(values).requires_grad_() for _ in range(2))
    step = torch.full((steps, 1), scale, requires_grad=True)
    weighting = torch.linspace(-1, 2, own.numel()).view_as(own)
    (quantizer.fake_quantize(own) * weighting).sum().backward()
    (composed_lsq(other, step, grid) * weighting).sum().backward()
    torch.testing.assert_close(own.grad, other.grad)
    factor = 1 / math.sqrt(own.numel() / steps * grid.high)
    torch.testing.assert_close(quantizer.step.grad, step.grad.flatten() * factor, rtol=1e-4, atol=1e-5)


def test_lsqs_step_learns_from_what_is_rounded_and_from_what_is_clipped():
    """Equation 3: round(v) - v inside, the end of the range outside; x itself learns inside alone."""
    quantizer = Lsq(WEIGHTS)
    values = torch.tensor([0.3, 9.0, -20.0], requires_grad=True)
    quantizer.fake_quantize(values).sum().backward()
    assert values.grad.tolist() == [1, 0, 0]
    wanted = (-0.3 + 7 - 7) / math.sqrt(3 * 7)
    assert quantizer.step.grad.tolist() == pytest.approx([wanted], rel=1e-5)


def test_the_gradient_of_an_activations_step_counts_one_samples_values():
    found = []
    for batch in (1, 8):
        quantizer = Lsq(ACTIVATIONS, batched=True)
        quantizer.fake_quantize(torch.full((batch, 4), 100.0)).mean().backward()
        found.append(float(quantizer.step.grad))
    assert found[0] == pytest.approx(found[1])


def test_tqts_threshold_learns_as_its_paper_says():
    """s = 2^⌈log2 t⌉/8; ∂/∂log2 t = s·ln 2·(round(v) - v), Q_N or Q_P."""
    quantizer = Tqt(WEIGHTS)
    quantizer.log2_threshold.data.fill_(2.3)
    assert quantizer.scale.tolist() == [1.0]
    values = torch.tensor([0.3, 9.0], requires_grad=True)
    quantizer.fake_quantize(values).sum().backward()
    assert values.grad.tolist() == [1, 0]
    wanted = math.log(2) * (-0.3 + 7) / math.sqrt(2 * 7)
    assert quantizer.log2_threshold.grad.tolist() == pytest.approx([wanted], rel=1e-5)


@given(SCALES)
def test_tqts_scales_are_powers_of_two(scale: float):
    quantizer = Tqt(WEIGHTS)
    quantizer.set_scale(torch.tensor(scale))
    exponent = math.log2(float(quantizer.scale.detach()))
    assert exponent == round(exponent)
    assert abs(exponent - math.log2(scale)) <= 0.5001


def test_pacts_clip_learns_only_from_what_it_clips():
    quantizer = Pact(ACTIVATIONS)
    quantizer.clip.data.fill_(3.0)
    values = torch.tensor([-1.0, 0.4, 2.9, 3.0, 7.0], requires_grad=True)
    quantizer.fake_quantize(values).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 0, 0]
    assert quantizer.clip.grad.tolist() == [2]
    assert float(clip_penalty(0.5)(torch.nn.Sequential(quantizer, Lsq(WEIGHTS)))) == 4.5
    assert float(clip_penalty(0.5)(torch.nn.Sequential(Lsq(WEIGHTS)))) == 0


def test_learning_steps_pull_a_bad_scale_to_the_best_one():
    torch.manual_seed(0)
    values = torch.randn(2000)
    quantizer = Lsq(WEIGHTS)
    quantizer.set_scale(torch.tensor(1.5))
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (quantizer.fake_quantize(values) - values).square().sum().backward()
        optimizer.step()
    best = float(least_squares_scale(values.view(1, -1), WEIGHTS))
    assert float(quantizer.scale) == pytest.approx(best, rel=0.1)


def test_the_first_scale_sees_every_column_of_many_maps():
    maps = torch.zeros(512, 16, 8, 8)  # a power of two of values: every 4th would be of columns 0 and 4
    for column in (1, 3, 7):
        seen = maps.clone()
        seen[..., column] = torch.rand(512, 16, 8, generator=torch.Generator().manual_seed(1))
        assert float(least_squares_scale(seen.view(1, -1), ACTIVATIONS)) == pytest.approx(1 / 15, rel=0.15)


@settings(max_examples=30)
@given(VALUES)
def test_the_first_scale_loses_no_more_than_one_that_clips_nothing(values: np.ndarray):
    exact = torch.from_numpy(values)
    for grid in (WEIGHTS, SUMS):
        scale = least_squares_scale(exact, grid)
        quantizer = Lsq(grid, 4)
        quantizer.set_scale(scale)
        covering = Lsq(grid, 4)
        needed = torch.maximum(exact.amax(1) / grid.high, exact.amin(1) / grid.low)
        covering.set_scale(torch.where(needed > 0, needed, 1.0))
        lost, lost_covering = (
            (each.dequantize(each.codes(exact)) - exact).square().sum(1) for each in (quantizer, covering)
        )
        assert (lost <= lost_covering * 1.0001 + 1e-9).all()


def test_no_parameter_of_a_quantizer_decays():
    """`Schedule.optimizer` lets tensors of more than one axis decay."""
    assert all(p.ndim == 1 for quantizer in every_quantizer(1.0) for p in quantizer.parameters())


def test_values_in_bf16_stay_so_and_their_steps_learn_in_float32():
    quantizer = Lsq(ACTIVATIONS, batched=True)
    values = torch.rand(2, 8, dtype=torch.bfloat16, requires_grad=True)
    rounded = quantizer.fake_quantize(values)
    rounded.sum().backward()
    assert rounded.dtype == values.grad.dtype == torch.bfloat16
    assert quantizer.step.grad.dtype == torch.float32

"""Runs a sweep: every chip under every condition, what is done already left out."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.package import Package

from edgedet_nvm.chip_evaluation import Advance, answers
from edgedet_nvm.chip_series import ChipSeries
from edgedet_nvm.device.preset import Preset
from edgedet_nvm.device.spread import spread_text
from edgedet_nvm.evaluation_set import EvaluationSet
from edgedet_nvm.monte_carlo.grid import Grid, with_circuit
from edgedet_nvm.monte_carlo.results_file import ChipResult, Header, Measured, ResultsFile
from edgedet_nvm.sidecar import compile_package

Bar = Callable[[str, int], AbstractContextManager[Advance]]
"""Begins a bar: what is done, of how many."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is measured, and on which chips."""

    package: Package
    preset: Preset
    grid: Grid
    photos: EvaluationSet
    calibration: Sequence[Tensor]
    """Network inputs; converters are calibrated anew for other rows and bits."""
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sweep that is done."""

    header: Header
    results: tuple[ChipResult, ...]
    """Of this grid alone, condition by condition, chips by their seeds."""


def run_sweep(sweep: Sweep, file: Path, bar: Bar) -> Outcome:
    """Do what `file` does not hold yet; a grid may grow from one run to the next.

    Raises:
        OutOfRange: a condition that the preset does not hold for.
        ResultsRefused: the file belongs to another package, preset or data set, or another sweep writes into it.
    """
    conditions = sweep.grid.conditions(sweep.preset)
    wanted = [(condition, seed) for condition in conditions for seed in range(sweep.grid.chips)]
    series = lru_cache(maxsize=1)(partial(_series, sweep))  # equal converters come together, and one takes much memory
    with ResultsFile.at_work(file, _measured(sweep), lambda: _digital(sweep, bar)) as kept:
        done = {(result.condition, result.chip): result for result in kept.results}
        waiting = [pair for pair in wanted if pair not in done]
        with bar(f"{len(waiting)} of {len(wanted)} chips × conditions", len(waiting) * len(sweep.photos)) as advance:
            for condition, seed in waiting:
                chip = condition.chip(sweep.preset, seed)
                chain = series(condition.rows, condition.adc_bits).chain(chip)
                found = list(answers(sweep.package, chain, sweep.photos, advance, sweep.threads))
                result = ChipResult(chip=seed, condition=condition, value=sweep.photos.value(found))
                kept.add(result)
                done[condition, seed] = result
    return Outcome(kept.header, tuple(done[pair] for pair in wanted))


def _series(sweep: Sweep, rows: int, adc_bits: int | None) -> ChipSeries:
    """Chips of one mapping, with the ideal chip's ranges, so that σ, corner, temperature and hours do not matter."""
    made = with_circuit(sweep.preset, rows, adc_bits)
    sidecar = compile_package(sweep.package, made, made.name, 0, "channels", "mse", sweep.calibration)
    return ChipSeries(sweep.package, sidecar)


def _digital(sweep: Sweep, bar: Bar) -> float:
    with bar("digital network", len(sweep.photos)) as advance:
        chain = prepare_chain(sweep.package, OnnxRuntimeBackend(), whole=True)
        found = list(answers(sweep.package, chain, sweep.photos, advance, sweep.threads))
    return sweep.photos.value(found)


def _measured(sweep: Sweep) -> Measured:
    programming, calibration = sweep.preset.programming, hashlib.sha256()
    for codes in sweep.calibration:
        calibration.update(np.ascontiguousarray(codes).tobytes())
    return Measured(
        package=sweep.package.reference,
        digest=sweep.package.digest,
        preset=sweep.preset.name,
        preset_sha256=hashlib.sha256(sweep.preset.model_dump_json().encode()).hexdigest(),
        sigma_of=spread_text(programming.error_of(sweep.preset.cell), programming.error_scale),
        calibration_sha256=calibration.hexdigest(),
        data=sweep.photos.dataset.name,
        data_sha256=sweep.photos.dataset.sha256,
        photos=len(sweep.photos),
        figure=sweep.photos.figure,
    )

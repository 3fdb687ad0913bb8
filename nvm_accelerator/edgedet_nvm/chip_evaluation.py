"""Accuracy of a package on a chip beside its digital network, on the same photos, and what a photo takes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from edgedet_evaluation.answering import Answerer
from edgedet_runtime.answer import Answer, Finisher
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import SIDECAR, Package
from edgedet_runtime.segments import load_network

from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.estimator import Estimate, mean_over_photos
from edgedet_nvm.device.preset import Preset
from edgedet_nvm.evaluation_set import Comparison, EvaluationSet, limited
from edgedet_nvm.saturation import saturated_shares
from edgedet_nvm.sidecar import Sidecar, read_sidecar, sidecar_folder

Advance = Callable[[], None]
_BLOCK = 64
_SATURATION_PHOTOS = 16


@dataclass(frozen=True, slots=True)
class ChipEvaluation:
    """What was measured of a package on a chip."""

    figures: tuple[Comparison, ...]
    saturation: dict[str, float]
    """Share of conversions that clip, by layer."""
    saturation_photos: int
    """How many photos that was counted on."""
    estimate: Estimate | None
    """Of a photo, mean over all of them; None: the preset has no costs or no converter."""


def evaluate_chip(
    package: Package, sidecar: Sidecar, chip: Chip, photos: EvaluationSet, advance: Advance, threads: int = 1
) -> ChipEvaluation:
    """Measure both networks; `advance` is called twice for every photo."""
    spent: list[Estimate] = []
    digital, on_chip = (
        list(answers(package, prepare_chain(package, backend, whole=True), photos, advance, threads))
        for backend in (OnnxRuntimeBackend(), NvmBackend(sidecar, chip, spent.append))
    )
    some = limited(photos, _SATURATION_PHOTOS)
    inputs = (to_input(photo, package.manifest.input)[0] for photo in some.photos())
    network = load_network(package.path("model.onnx"))
    return ChipEvaluation(
        photos.compare(digital, on_chip),
        saturated_shares(network, sidecar, chip, inputs),
        len(some),
        mean_over_photos(spent) if spent else None,
    )


def answers(
    package: Package, chain: Chain, photos: EvaluationSet, advance: Advance, threads: int = 1
) -> Iterator[Answer]:
    """A package's answers on a prepared chain, in the order of the photos; they do not depend on `threads`.

    Photos are not run in batches: a batch of 16 takes as long per photo as one alone does.
    """
    answerer = Answerer(chain, Finisher.load(package))
    waiting = iter(photos.photos())
    # Block by block: an interrupt waits for few photos, and few are in memory.
    with ThreadPoolExecutor(threads) as pool:
        while block := list(islice(waiting, _BLOCK)):
            for answer in pool.map(partial(answerer, choices=photos.choices), block):
                advance()
                yield answer


def stored_sidecar(package: Package, preset: Preset) -> Sidecar | None:
    """The sidecar of a preset beside the package, as an edge node serves it; None where there is none.

    Raises:
        PackageRefused: it was compiled from another package, or for another preset of that name.
    """
    folder = sidecar_folder(package, preset.name)
    return read_sidecar(folder, package, preset) if (folder / SIDECAR).is_file() else None

"""The same package gives the same codes: chain or fused network, ONNX Runtime or numpy, one thread or several."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import Tensor, load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package
from edgedet_runtime.photo import decode_photo


@pytest.fixture(scope="module")
def chain(package: Package) -> Chain:
    return prepare_chain(package, load_backend("onnxruntime"))


def input_of(package: Package, photo: Path) -> Tensor:
    return to_input(decode_photo(photo.read_bytes()), package.manifest.input)[0]


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def test_the_chain_gives_the_fused_networks_outputs_for_every_photo(
    package: Package, chain: Chain, fused, sample_photos: list[Path]
):
    for photo in sample_photos:
        tensor = input_of(package, photo)
        assert same(chain.run_input(tensor), fused(tensor)), photo.name


def test_onnx_runtime_and_numpy_give_the_same_codes_at_every_boundary(
    package: Package, chain: Chain, sample_photos: list[Path]
):
    """Numpy takes seconds for a photo of 400 pixels; the photos for which it has no time are in the test above."""
    reference = prepare_chain(package, load_backend("reference"))
    photos = sample_photos[:: len(sample_photos) // 2] if package.manifest.macs > 1e9 else sample_photos
    for photo in photos:
        left = right = {package.manifest.input.name: input_of(package, photo)}
        for boundary in range(1, chain.segment_count + 1):
            left = chain.run(left, boundary - 1, boundary)
            right = reference.run(right, boundary - 1, boundary)
            assert same(left, right), f"{photo.name}, boundary {boundary}"


def test_extreme_inputs_give_the_fused_networks_outputs(package: Package, chain: Chain, fused):
    spec = package.manifest.input.tensor
    noise = np.random.default_rng(0).integers(0, 256, spec.shape, np.uint8)
    for tensor in (np.zeros(spec.shape, np.uint8), np.full(spec.shape, 255, np.uint8), noise):
        assert same(chain.run_input(tensor), fused(tensor))


def test_threads_that_share_the_sessions_give_the_same_answers(
    package: Package, chain: Chain, sample_photos: list[Path]
):
    tensors = [input_of(package, photo) for photo in sample_photos]
    expected = [chain.run_input(tensor) for tensor in tensors]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(chain.run_input, tensors))
    assert all(same(left, right) for left, right in zip(found, expected, strict=True))


def test_answers_survive_the_way_as_rows(package: Package, chain: Chain, sample_photos: list[Path]):
    finisher = Finisher.load(package)
    tensor, geometry = to_input(decode_photo(sample_photos[0].read_bytes()), package.manifest.input)
    answer = finisher.finish(chain.run_input(tensor), geometry, finisher.default_choices())
    assert np.array_equal(type(answer).from_rows(answer.to_rows()).to_rows(), answer.to_rows())
    assert len(answer.to_rows())

"""Is a package what it says: readable tables, every live tensor equal between ONNX Runtime and the numpy reference."""

from collections.abc import Sequence

import numpy as np

from edgedet_runtime.answer import Finisher
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.backends.reference import ReferenceBackend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.errors import TensorMismatch
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package
from edgedet_runtime.photo import Photo, decode_photo


def verify_package(package: Package, photos: Sequence[bytes]) -> int:
    """Run both backends on `photos` (or one of noise) and compare at every boundary; the number of tensors compared.

    Raises:
        TensorMismatch: naming the boundary and tensor whose codes differ.
        RuntimeFault: the package cannot be prepared, or a photo cannot be taken.
    """
    Finisher.load(package)
    fast = prepare_chain(package, OnnxRuntimeBackend())
    slow = prepare_chain(package, ReferenceBackend())
    return sum(_compare(fast, slow, decode_photo(photo)) for photo in photos) or _compare(fast, slow, _noise())


def _compare(fast: Chain, slow: Chain, photo: Photo) -> int:
    tensor, _ = to_input(photo, fast.manifest.input)
    left = {fast.manifest.input.name: tensor}
    right = dict(left)
    compared = 0
    for index in range(1, fast.segment_count + 1):
        left, right = fast.run(left, index - 1, index), slow.run(right, index - 1, index)
        for name, codes in left.items():
            differing = int(np.count_nonzero(codes != right[name]))
            if differing:
                raise TensorMismatch(f"boundary {index}: {differing} of {codes.size} codes of {name!r} differ")
            compared += 1
    return compared


def _noise() -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 4), np.uint8)
    pixels[:, :, 3] = 255
    return Photo(pixels)

"""A session whose cells are written anew for every chip: many chips cost one session.

ONNX Runtime rearranges weights for its kernels while it optimizes a network. Where each number goes is found once, with
numbered cells: the optimized network is saved and loaded again, its weights in memory of ours, which its float
convolutions read in every run.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_runtime.backends.onnxruntime import session_options
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

Floats = NDArray[np.float32]
# The bits of 2^65, which no constant of a network reaches: cell n is numbered by the float32 with the bits FIRST + n.
_FIRST = 0x60000000
_SKELETON, _WEIGHTS = "skeleton.onnx", "weights"


@dataclass(frozen=True, slots=True)
class _Place:
    """A weight as the session holds it: which of a constant's numbers lies where, flat; its size stands for padding."""

    constant: str
    order: NDArray[np.intp]
    memory: Floats


class RewritableSession:
    """One ONNX Runtime session; nobody may run it while `write` does."""

    def __init__(self, model: onnx.ModelProto, rewritten: Mapping[str, Floats]) -> None:
        """Load `model`; `rewritten` are those of its constants that `write` replaces, with what they hold now."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _SKELETON
            skeleton = _optimized(_numbered(model, rewritten), file)
            self._places = _places(skeleton, rewritten)
            options = session_options()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            # They must outlive the session.
            self._values = {
                name: ort.OrtValue.ortvalue_from_numpy(place.memory) for name, place in self._places.items()
            }
            for name, value in self._values.items():
                options.add_initializer(name, value)
            self.write(rewritten)
            onnx.save(skeleton, file)
            with (Path(folder) / _WEIGHTS).open("wb") as weights:  # never read, but has to be there: a sparse file
                weights.truncate(max(place.memory.nbytes for place in self._places.values()))
            self.session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    @property
    def constants(self) -> set[str]:
        """Names of what `write` replaces."""
        return {place.constant for place in self._places.values()}

    def write(self, rewritten: Mapping[str, Floats]) -> None:
        """Replace the constants, all of them."""
        for place in self._places.values():
            flat = rewritten[place.constant].reshape(-1)
            if place.memory.size > flat.size:
                flat = np.append(flat, np.float32(0))
            np.take(flat, place.order, out=place.memory.reshape(-1), mode="clip")


def _numbered(model: onnx.ModelProto, rewritten: Mapping[str, Floats]) -> onnx.ModelProto:
    numbered = onnx.ModelProto()
    numbered.CopyFrom(model)
    first = _FIRST
    for name, tensor in zip(rewritten, _initializers(numbered, rewritten), strict=True):
        size = rewritten[name].size
        tensor.raw_data = np.arange(first, first + size, dtype=np.uint32).tobytes()
        first += size
    return numbered


def _initializers(model: onnx.ModelProto, names: Mapping[str, Floats]) -> list[TensorProto]:
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    return [known[name] for name in names]


def _optimized(model: onnx.ModelProto, file: Path) -> onnx.ModelProto:
    options = session_options()
    options.optimized_model_filepath = str(file)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(file)


def _places(skeleton: onnx.ModelProto, rewritten: Mapping[str, Floats]) -> dict[str, _Place]:
    """Find the numbered weights, and leave their names and shapes alone in the skeleton."""
    sizes = [values.size for values in rewritten.values()]
    ends = np.cumsum(sizes)
    found: dict[str, _Place] = {}
    for tensor in skeleton.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        bits = np.ascontiguousarray(values).reshape(-1).view(np.uint32).astype(np.intp) - _FIRST
        numbered = (bits >= 0) & (bits < ends[-1])
        if not numbered.any():
            continue
        index = int(np.searchsorted(ends, bits[numbered].min(), side="right"))
        order = np.where(numbered, bits - (ends[index] - sizes[index]), sizes[index])
        seen = np.zeros(sizes[index] + 1, bool)
        seen[order] = True
        if not seen[:-1].all() or np.count_nonzero(numbered) != sizes[index]:
            raise RuntimeError(f"{tensor.name}: this release of ONNX Runtime changes weights while it arranges them")
        found[tensor.name] = _Place(list(rewritten)[index], order, np.empty(values.shape, np.float32))
        _left_out(tensor, values.nbytes)
    if {place.constant for place in found.values()} != rewritten.keys():
        raise RuntimeError("cells are missing in the network that this release of ONNX Runtime optimized")
    return found


def _left_out(tensor: TensorProto, size: int) -> None:
    """The tensor without its numbers, as if they were in the file beside."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", _WEIGHTS), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)

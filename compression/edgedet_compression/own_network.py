"""A user's float ONNX network: its file, the files of weights beside it, and what has to be known about it."""

from dataclasses import dataclass, field
from pathlib import Path

import onnx
from edgedet_runtime.package import file_sha256

from edgedet_compression.errors import BuildRefused
from edgedet_compression.float_baseline import Anchors
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.sources import folder_sha256


@dataclass(frozen=True)
class OwnNetwork:
    """A user's float ONNX network and what has to be known about it."""

    file: Path
    labels: tuple[str, ...]
    anchors: Anchors = ()
    normalization: Normalization = field(default_factory=Normalization)
    resize: str = "letterbox"
    filter: str = "linear"
    license: str = "not stated"
    description: str = ""

    def read_parent(self) -> str:
        """What a package is made from: the file and the weights beside it, with their sha256."""
        weights = _weights_beside(self.file)
        beside = f", weights beside it, sha256 {folder_sha256(weights)}" if weights else ""
        return f"{self.file.name}, sha256 {file_sha256(self.file)}{beside}"

    def read(self) -> onnx.ModelProto:
        """The network with its weights.

        Raises:
            BuildRefused: the file, or one beside it, cannot be read.
        """
        try:
            return onnx.load(self.file)
        except OSError as error:
            raise BuildRefused(f"--onnx {self.file}: {error.strerror}") from error
        except onnx.checker.ValidationError as error:
            raise BuildRefused(f"--onnx {self.file}: its weights must lie beside it: {error}") from error
        except Exception as error:  # protobuf's DecodeError has no base of its own
            raise BuildRefused(f"--onnx {self.file} is not an ONNX file: {error}") from error


def _weights_beside(file: Path) -> list[Path]:
    """The files that the network's tensors lie in, as exporters write them beside large networks."""
    tensors = onnx.load(file, load_external_data=False).graph.initializer
    outside = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    names = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    return [file.parent / name for name in sorted(names)]

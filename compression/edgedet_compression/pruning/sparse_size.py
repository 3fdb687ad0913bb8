"""Real bytes of a sparse network: a file from which it can be read again, with positions, biases and header in it."""

import json
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import zstandard
from torch import Tensor, nn

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks import families
from edgedet_compression.networks.specification import Specification, Specified
from edgedet_compression.pruning.sparse_coding import Array, CodedArray, CodedStream, decode, encode

Values = Literal["fp32", "fp16", "int8"]
"""How weights are stored: exactly (−0 as 0); rounded; as codes |q| ≤ 64 with one fp32 scale per output channel."""

_MAGIC = b"EdgeDet sparse 1\n"
_LARGEST_CODE = 64


@dataclass(frozen=True)
class TensorSize:
    """What a tensor takes in the file."""

    positions: str
    """How its places are stored: "dense", "bitmask" or "gaps"."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class SparseSize:
    """What a network takes."""

    total: int
    """Bytes of the file."""
    tensors: dict[str, TensorSize]
    """By name; what they lack to the total is the header."""


def write_sparse(network: nn.Module, file: Path, values: Values = "fp32") -> SparseSize:
    """Write parameters, buffers and specification.

    Weights (tensors of two dimensions or more) are stored as `values` says, all other tensors as they are.
    """
    assert isinstance(network, Specified)
    specification = network.specification()
    entries, content, sizes = [], bytearray(), {}
    for name, tensor in network.state_dict().items():
        arrays = _stored(tensor, values)
        coded = [encode(array) for array in arrays]
        entries.append({"name": name, "arrays": [_entry(*pair) for pair in zip(arrays, coded, strict=True)]})
        sizes[name] = TensorSize(coded[0].positions, sum(part.size for part in coded))
        for part in coded:
            content += b"".join(stream.content for stream in part.streams)
    header = {"family": specification.family, "arguments": dict(specification.arguments), "tensors": entries}
    packed = zstandard.ZstdCompressor(level=19).compress(json.dumps(header, separators=(",", ":")).encode())
    part_file = file.with_name(f"{file.name}.part")
    part_file.write_bytes(_MAGIC + struct.pack("<I", len(packed)) + packed + content)
    part_file.replace(file)
    return SparseSize(file.stat().st_size, sizes)


def read_sparse(file: Path) -> nn.Module:
    """The network of a file that `write_sparse` wrote, in evaluation mode, with the values as they were stored.

    Raises:
        SourceMissing: no such file.
        SourceUnreadable: another kind of file, or one that was cut off.
    """
    if not file.is_file():
        raise SourceMissing(f"no sparse network at {file}")
    content = file.read_bytes()
    if not content.startswith(_MAGIC):
        raise SourceUnreadable(f"{file} holds no sparse network of EdgeDet")
    try:
        start = len(_MAGIC) + 4
        (length,) = struct.unpack("<I", content[len(_MAGIC) : start])
        header = json.loads(zstandard.ZstdDecompressor().decompress(content[start : start + length]))
        arrays = _arrays(header["tensors"], content[start + length :])
        state = {entry["name"]: _tensor([next(arrays) for _ in entry["arrays"]]) for entry in header["tensors"]}
    except (struct.error, zstandard.ZstdError, lzma.LZMAError, KeyError, ValueError) as error:
        raise SourceUnreadable(f"{file} is damaged: {error}") from error
    network = families.build(Specification(header["family"], header["arguments"]))
    network.load_state_dict(state)
    return network.eval()


def _stored(tensor: Tensor, values: Values) -> list[Array]:
    """The array of a tensor; of int8 weights the codes and the scales."""
    array = tensor.detach().contiguous().numpy()
    if array.ndim < 2 or not np.issubdtype(array.dtype, np.floating):
        return [array]
    if values != "int8":
        array = array.astype(np.float16 if values == "fp16" else array.dtype)
        return [array + array.dtype.type(0)]  # −0 becomes 0, which takes no place in the file
    peaks = np.abs(array.reshape(len(array), -1)).max(axis=1)
    scales = np.where(peaks > 0, peaks / _LARGEST_CODE, 1).astype(np.float32)
    return [np.rint(array / _along_channels(scales, array.ndim)).astype(np.int8), scales]


def _tensor(arrays: list[Array]) -> Tensor:
    array = arrays[0]
    if len(arrays) == 2:
        array = array.astype(np.float32) * _along_channels(arrays[1], array.ndim)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    return torch.from_numpy(array)


def _along_channels(scales: Array, dimensions: int) -> Array:
    return scales.reshape(-1, *[1] * (dimensions - 1))


def _entry(array: Array, coded: CodedArray) -> dict[str, Any]:
    streams = [[stream.codec, len(stream.content)] for stream in coded.streams]
    return {"dtype": array.dtype.str, "shape": array.shape, "positions": coded.positions, "streams": streams}


def _arrays(entries: list[dict[str, Any]], content: bytes) -> Iterator[Array]:
    place = 0
    for entry in (array for tensor in entries for array in tensor["arrays"]):
        streams = []
        for codec, length in entry["streams"]:
            if place + length > len(content):
                raise ValueError("it ends too early")
            streams.append(CodedStream(codec, content[place : place + length]))
            place += length
        yield decode(entry["positions"], streams, entry["dtype"], entry["shape"])

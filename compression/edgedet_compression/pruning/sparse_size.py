"""Real bytes of a sparse network: a file from which it can be read again, with positions, biases and header in it."""

import json
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from torch import Tensor, nn

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks import families
from edgedet_compression.networks.specification import Specification, Specified
from edgedet_compression.pruning.sparse_coding import Array, CodedArray, CodedStream, decode, encode

_MAGIC = b"EdgeDet sparse 1\n"


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


def write_sparse(network: nn.Module, file: Path) -> SparseSize:
    """Write parameters, buffers and specification, bit for bit (but −0 as 0)."""
    assert isinstance(network, Specified)
    specification = network.specification()
    entries, content, sizes = [], bytearray(), {}
    for name, tensor in network.state_dict().items():
        array = _stored(tensor)
        coded = encode(array)
        entries.append({"name": name, **_entry(array, coded)})
        sizes[name] = TensorSize(coded.positions, coded.size)
        content += b"".join(stream.content for stream in coded.streams)
    header = {"family": specification.family, "arguments": dict(specification.arguments), "tensors": entries}
    packed = zstandard.ZstdCompressor(level=19).compress(json.dumps(header, separators=(",", ":")).encode())
    part_file = file.with_name(f"{file.name}.part")
    part_file.write_bytes(_MAGIC + struct.pack("<I", len(packed)) + packed + content)
    part_file.replace(file)
    return SparseSize(file.stat().st_size, sizes)


def is_sparse(file: Path) -> bool:
    """Whether `write_sparse` wrote a file."""
    with file.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def read_sparse(file: Path) -> nn.Module:
    """The network of a file that `write_sparse` wrote, in evaluation mode.

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
        state = {entry["name"]: torch.from_numpy(next(arrays).copy()) for entry in header["tensors"]}
    except (struct.error, zstandard.ZstdError, lzma.LZMAError, KeyError, ValueError) as error:
        raise SourceUnreadable(f"{file} is damaged: {error}") from error
    network = families.build(Specification(header["family"], header["arguments"]))
    network.load_state_dict(state)
    return network.eval()


def _stored(tensor: Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    # −0 becomes 0, which takes no place in the file.
    return array + array.dtype.type(0) if array.ndim > 1 and np.issubdtype(array.dtype, np.floating) else array


def _entry(array: Array, coded: CodedArray) -> dict[str, Any]:
    streams = [[stream.codec, len(stream.content)] for stream in coded.streams]
    return {"dtype": array.dtype.str, "shape": array.shape, "positions": coded.positions, "streams": streams}


def _arrays(entries: list[dict[str, Any]], content: bytes) -> Iterator[Array]:
    place = 0
    for entry in entries:
        streams = []
        for codec, length in entry["streams"]:
            if place + length > len(content):
                raise ValueError("it ends too early")
            streams.append(CodedStream(codec, content[place : place + length]))
            place += length
        yield decode(entry["positions"], streams, entry["dtype"], entry["shape"])

"""Arrays with many zeros as short byte streams: positions and values apart, each entropy-coded."""

import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from edgedet_compression.errors import SourceUnreadable

Array = NDArray[Any]
_LONGEST_GAP = 255
# LZMA takes a second per megabyte; for what is longer it is hardly worth the wait.
_LZMA_AT_MOST = 8 << 20


@dataclass(frozen=True)
class CodedStream:
    """Bytes, and the codec ("raw", "zstd" or "lzma") that made them shortest."""

    codec: str
    content: bytes


@dataclass(frozen=True)
class CodedArray:
    """An array whose positions are "dense" (none), a "bitmask" or "gaps"; the streams: positions if any, values."""

    positions: str
    streams: tuple[CodedStream, ...]

    @property
    def size(self) -> int:
        """Bytes of all streams."""
        return sum(len(stream.content) for stream in self.streams)


def encode(array: Array) -> CodedArray:
    """Dense where that is shortest before entropy coding, else the shorter of bitmask and gaps after it.

    What counts as zero is the number whose bits are all 0, so that `decode` gives every bit back.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    used = flat.view(f"u{flat.itemsize}") != 0
    gaps, bitmask = _gaps(np.flatnonzero(used)), np.packbits(used)
    values = flat[used]
    if flat.nbytes <= values.nbytes + min(gaps.nbytes, bitmask.nbytes):
        return CodedArray("dense", (_shortest(_planes(flat)),))
    by_gaps, by_mask = _shortest(gaps.tobytes()), _shortest(bitmask.tobytes())
    coded = _shortest(_planes(values))
    if len(by_gaps.content) <= len(by_mask.content):
        return CodedArray("gaps", (by_gaps, coded))
    return CodedArray("bitmask", (by_mask, coded))


def decode(positions: str, streams: Sequence[CodedStream], dtype: str, shape: Sequence[int]) -> Array:
    """The array that `encode` was given."""
    count = int(np.prod(shape, dtype=np.int64))
    plain = [_decoded(stream) for stream in streams]
    values = _from_planes(plain[-1], np.dtype(dtype))
    if positions == "dense":
        return values.reshape(shape)
    flat = np.zeros(count, np.dtype(dtype))
    if positions == "gaps":
        flat[_from_gaps(plain[0])] = values
    elif positions == "bitmask":
        flat[np.unpackbits(np.frombuffer(plain[0], np.uint8), count=count).astype(bool)] = values
    else:
        raise SourceUnreadable(f"positions are coded as {positions!r}, which is not known")
    return flat.reshape(shape)


def _gaps(places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Distances between neighbors, a byte each; 255 says "255 further, no value here" (after Deep Compression)."""
    distances = np.diff(places, prepend=-1) - 1
    fillers = distances // _LONGEST_GAP
    gaps = np.full(len(places) + int(fillers.sum()), _LONGEST_GAP, np.uint8)
    gaps[np.cumsum(fillers + 1) - 1] = distances % _LONGEST_GAP
    return gaps


def _from_gaps(content: bytes) -> NDArray[np.int64]:
    gaps = np.frombuffer(content, np.uint8)
    is_value = gaps != _LONGEST_GAP
    ends = np.cumsum(gaps.astype(np.int64) + is_value) - 1
    places: NDArray[np.int64] = ends[is_value]
    return places


def _planes(values: Array) -> bytes:
    """First bytes of all values, then second bytes, …: exponents lie together and code well."""
    return values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def _from_planes(content: bytes, dtype: np.dtype[Any]) -> Array:
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(-1)


def _shortest(content: bytes) -> CodedStream:
    coded = {"raw": content}
    if content:
        coded["zstd"] = zstandard.ZstdCompressor(level=19, write_checksum=False).compress(content)
    if content and len(content) <= _LZMA_AT_MOST:
        coded["lzma"] = lzma.compress(content, lzma.FORMAT_RAW, filters=_lzma_filters(len(content)))
    codec = min(coded, key=lambda name: len(coded[name]))
    return CodedStream(codec, coded[codec])


def _decoded(stream: CodedStream) -> bytes:
    if stream.codec == "raw":
        return stream.content
    if stream.codec == "zstd":
        return zstandard.ZstdDecompressor().decompress(stream.content)
    if stream.codec == "lzma":
        return lzma.decompress(stream.content, lzma.FORMAT_RAW, filters=_lzma_filters(_LZMA_AT_MOST))
    raise SourceUnreadable(f"a stream is coded by {stream.codec!r}, which is not known")


def _lzma_filters(dictionary: int) -> list[dict[str, int]]:
    """No more memory than the content needs; positions do not matter, as streams are of single bytes."""
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "pb": 0, "dict_size": max(4096, dictionary)}]

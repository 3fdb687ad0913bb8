"""Darknet's .weights files: a header, then float32 numbers in the order of the layers.

A convolution has bias (or BatchNorm's shift), then scale, mean and variance where it is normalized, then its kernel.
"""

import numpy as np
import numpy.typing as npt

from edgedet_compression.errors import SourceUnreadable

_HEADER = np.array([0, 2, 0], "<i4").tobytes() + np.array([0], "<u8").tobytes()


class WeightReader:
    """Hands out float32 arrays in file order. Header: int32 major, minor, revision; then `seen`."""

    def __init__(self, content: bytes) -> None:
        if len(content) < 20:
            raise SourceUnreadable("the .weights file is shorter than its header")
        major, minor = np.frombuffer(content, "<i4", count=2)
        # Since version 0.2 `seen` has 8 bytes, before that 4.
        header = 20 if int(major) * 10 + int(minor) >= 2 else 16
        if (len(content) - header) % 4:
            raise SourceUnreadable("the .weights file does not hold whole float32 numbers")
        self._values = np.frombuffer(content, "<f4", offset=header)
        self._position = 0

    @property
    def count(self) -> int:
        """Numbers in the file."""
        return self._values.size

    def take(self, *shape: int) -> npt.NDArray[np.float64]:
        """The next numbers of the file.

        Raises:
            SourceUnreadable: there are not as many.
        """
        count = int(np.prod(shape))
        part = self._values[self._position : self._position + count]
        if part.size < count:
            raise SourceUnreadable(
                f"the .weights file ends early: {self._values.size} numbers, the description needs more"
            )
        self._position += count
        return part.reshape(shape).astype(np.float64)

    def check_all_read(self) -> None:
        """Raise `SourceUnreadable` where numbers are left over."""
        left = self._values.size - self._position
        if left:
            raise SourceUnreadable(f"the .weights file has {left} numbers more than the description needs")


class WeightWriter:
    """Collects arrays in file order; version 0.2, `seen` 0."""

    def __init__(self) -> None:
        self._parts = [_HEADER]

    def put(self, values: npt.NDArray[np.float32]) -> None:
        """Append an array, in C order."""
        self._parts.append(np.ascontiguousarray(values, "<f4").tobytes())

    def content(self) -> bytes:
        """The file."""
        return b"".join(self._parts)

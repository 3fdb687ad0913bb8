"""How a signed weight code is written into cells: slices of a magnitude in pairs, or bits of two's complement."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.errors import MappingRefused


@dataclass(frozen=True, slots=True)
class Slicing:
    """Planes of a weight code, least significant first: ``code = Σ_j factors[j] · plane[j]``.

    A plane of a pair is G⁺ - G⁻, subtracted before the converter; a plane without a pair holds levels ≥ 0.
    """

    highest_levels: tuple[int, ...]
    factors: tuple[int, ...]
    paired: bool

    def __post_init__(self) -> None:
        if not self.highest_levels or min(self.highest_levels) < 1:
            raise MappingRefused("highest_levels: every plane needs a highest level ≥ 1")

    @classmethod
    def differential(cls, *highest_levels: int) -> Self:
        """A magnitude in mixed radix, every digit a pair of cells: (15, 7) holds ±127, (7,) holds ±7."""
        factors = [1]
        for level in highest_levels[:-1]:
            factors.append(factors[-1] * (level + 1))
        return cls(highest_levels, tuple(factors), paired=True)

    @classmethod
    def twos_complement(cls, bits: int) -> Self:
        """One single-ended binary cell per bit, the most significant one negative: 8 bits hold -128…127."""
        if bits < 2:
            raise MappingRefused("bits: two's complement needs at least 2")
        factors = tuple(-(1 << bit) if bit == bits - 1 else 1 << bit for bit in range(bits))
        return cls((1,) * bits, factors, paired=False)

    @property
    def cells_per_weight(self) -> int:
        """Cells that hold one weight."""
        return len(self.factors) * (2 if self.paired else 1)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest code that fits."""
        terms = [factor * level for factor, level in zip(self.factors, self.highest_levels, strict=True)]
        highest = sum(term for term in terms if term > 0)
        return (-highest if self.paired else sum(term for term in terms if term < 0)), highest

    def planes(self, codes: NDArray[np.int8]) -> NDArray[np.int16]:
        """Signed levels [planes, *codes.shape].

        Raises:
            MappingRefused: a code does not fit.
        """
        lowest, highest = self.span
        wide = codes.astype(np.int16)
        if wide.size and (wide.min() < lowest or wide.max() > highest):
            raise MappingRefused(
                f"slicing: holds codes {lowest}…{highest}, the weights reach {wide.min()}…{wide.max()}; "
                "take more levels or more planes"
            )
        if not self.paired:
            return np.stack([(wide >> bit) & 1 for bit in range(len(self.factors))])
        digits = zip(self.factors, self.highest_levels, strict=True)
        return np.stack([np.sign(wide) * (np.abs(wide) // factor % (level + 1)) for factor, level in digits])

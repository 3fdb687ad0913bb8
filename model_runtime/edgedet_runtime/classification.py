"""Classes: logits to scores by a softmax that gives the same bits on every machine."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_LN2 = math.log(2.0)
# Taylor coefficients 1/i!; on |r| ≤ ln 2 / 2 fourteen terms reach double precision.
_COEFFICIENTS = tuple(1.0 / math.factorial(i) for i in range(14))


@dataclass(frozen=True, slots=True)
class Classes:
    """The best k classes: label indices int64 [k] and scores float32 [k], best first."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def to_rows(self) -> NDArray[np.float32]:
        """Float32 [k, 2]: score, label index."""
        return np.column_stack([self.scores, self.labels.astype(np.float32)]).astype(np.float32)

    @classmethod
    def from_rows(cls, rows: NDArray[np.float32]) -> Self:
        """The inverse of `to_rows`."""
        return cls(rows[:, 1].astype(np.int64), rows[:, 0].copy())


def classify(logits: NDArray[np.float32], top_k: int) -> Classes:
    """Softmax over logits [classes], the best `top_k`; ties go to the lower label."""
    scores = softmax(logits)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return Classes(best.astype(np.int64), scores[best])


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax of logits [classes], float32.

    `numpy.exp` differs in the last bit between AVX-512 and AVX2; here exp is 2^n times a Taylor polynomial in
    plain float64 additions and multiplications, which IEEE 754 rounds the same everywhere, and the sum is exact.
    """
    shifted = logits.astype(np.float64) - float(logits.max())
    power = np.rint(shifted * (1.0 / _LN2))
    rest = shifted - power * _LN2
    exponential = np.full_like(rest, _COEFFICIENTS[-1])
    for coefficient in reversed(_COEFFICIENTS[:-1]):
        exponential = exponential * rest + coefficient
    exponential = np.ldexp(exponential, np.maximum(power, -1000).astype(np.int64))
    return (exponential / math.fsum(exponential)).astype(np.float32)

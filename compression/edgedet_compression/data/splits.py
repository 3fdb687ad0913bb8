"""Seeded splits of a data set into what is learned and what is held out for choices; the same on every machine.

Images are ranked by the raw stream of PCG64, which numpy keeps the same in all of its versions (NEP 19; it makes no
such promise for shuffles).
"""

import numpy as np
from numpy.typing import NDArray

from edgedet_compression.errors import BuildRefused

Indices = NDArray[np.int64]


def hold_out(count: int, held: int, seed: int) -> tuple[Indices, Indices]:
    """Places 0 … `count` - 1 in two parts, each ascending: those kept to learn from, and `held` held out.

    Raises:
        BuildRefused: `held` leaves nothing on one side.
    """
    _check(count, held)
    ranked = _ranked(count, seed)
    return np.sort(ranked[held:]), np.sort(ranked[:held])


def hold_out_by_label(labels: Indices, held: int, seed: int) -> tuple[Indices, Indices]:
    """As `hold_out`, of every label its share (rounded by largest remainders); labels int64 [n].

    Raises:
        BuildRefused: `held` leaves nothing on one side.
    """
    _check(len(labels), held)
    ranked = _ranked(len(labels), seed)
    quotas = _quotas(np.bincount(labels), held)
    chosen = np.concatenate([ranked[labels[ranked] == label][:quota] for label, quota in enumerate(quotas)])
    return np.setdiff1d(ranked, chosen), np.sort(chosen)


def _check(count: int, held: int) -> None:
    if not 0 < held < count:
        raise BuildRefused(
            f"hold_out = {held} of {count} images: it must leave some on both sides: give 1 … {count - 1}"
        )


def _ranked(count: int, seed: int) -> Indices:
    stream = np.asarray(np.random.PCG64(seed).random_raw(count), np.uint64)
    order: Indices = np.argsort(stream, kind="stable")
    return order


def _quotas(counts: Indices, total: int) -> Indices:
    """Shares of `total` in proportion to `counts`, whole, with sum `total`."""
    exact = counts * total
    quotas: Indices = exact // counts.sum()
    left = total - int(quotas.sum())
    quotas[np.argsort(-(exact % counts.sum()), kind="stable")[:left]] += 1
    return quotas

"""Memory that a training step frees is kept for the next one.

glibc hands blocks above 32 MiB, as activations of whole batches are, back to the kernel as soon as they are freed; the
next step asks for the same, and the kernel clears each of their pages once more. See mallopt(3).
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""


def keep_freed_memory() -> None:
    """From now on this process keeps what it frees, up to blocks of 1 GiB; without glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)

"""Keep freed memory in the process: tensors come and go with every request and every step of a training, and giving
their pages back to the kernel each time costs a server twice its work (page faults)."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_BYTES = 512 << 20


def keep_freed_memory(largest_block: int = 32 << 20) -> None:
    """Raise glibc's trim and mmap thresholds; elsewhere nothing happens.

    Blocks above `largest_block` bytes still go back at once: in a server that is now and then a large photo, in a
    training the activations of each step.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, largest_block)

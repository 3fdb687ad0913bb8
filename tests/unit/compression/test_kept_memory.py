"""Large blocks that a training frees stay with its process."""

import subprocess
import sys

import pytest

# hblkhd: bytes that malloc holds in mappings of their own, which go back to the kernel when they are freed.
_MAPPED_BY_A_BLOCK = """
import ctypes
from edgedet_compression.training.kept_memory import keep_freed_memory

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo2
libc.malloc.restype = ctypes.c_void_p

def mapped():
    before = libc.mallinfo2().hblkhd
    libc.malloc(ctypes.c_size_t(64 << 20))
    return libc.mallinfo2().hblkhd - before

before = mapped()
keep_freed_memory()
print(before, mapped())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_blocks_of_a_batchs_activations_are_kept():
    printed = subprocess.run([sys.executable, "-c", _MAPPED_BY_A_BLOCK], check=True, capture_output=True, text=True)
    before, after = map(int, printed.stdout.split())
    assert before >= 64 << 20
    assert after == 0

"""Large blocks that a process frees stay with it, up to the size that it asks for."""

import subprocess
import sys

# hblkhd: bytes that malloc holds in mappings of their own, which go back to the kernel when they are freed.
_MAPPED_BY_A_BLOCK = """
import ctypes
from edgedet_runtime.malloc import keep_freed_memory

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
server = mapped()
keep_freed_memory(largest_block=1 << 30)
print(before, server, mapped())
"""


def test_blocks_are_kept_up_to_the_largest():
    printed = subprocess.run([sys.executable, "-c", _MAPPED_BY_A_BLOCK], check=True, capture_output=True, text=True)
    before, in_a_server, in_a_training = map(int, printed.stdout.split())
    assert before >= 64 << 20
    assert in_a_server >= 64 << 20
    assert in_a_training == 0

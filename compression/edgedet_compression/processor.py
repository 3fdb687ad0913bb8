"""What /proc/cpuinfo tells of the processor."""

import platform
from pathlib import Path


def has_bf16() -> bool:
    """Whether the processor computes in bf16; without the instructions it is several times slower than fp32."""
    flags = cpu_info("flags").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def processor_name() -> str:
    """Its model, or at least its architecture: what a speed was measured on."""
    return cpu_info("model name") or platform.machine()


def cpu_info(field: str) -> str:
    """What is told of the first core; empty where nothing is."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")

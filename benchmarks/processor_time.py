"""CPU time of another process, all its threads, from the kernel's scheduler."""

from pathlib import Path


def cpu_ms(pid: int) -> float:
    """Milliseconds that the process's living threads have run; nanosecond resolution, unlike /proc/PID/stat."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e6

"""CPU time of another process, all its threads, from the kernel's clock of that process."""

import time

_SCHEDULED = 2  # CPUCLOCK_SCHED of the kernel: nanoseconds, unlike /proc/PID/stat


def cpu_ms(pid: int) -> float:
    """Milliseconds that the process's threads have run, those that have ended too.

    The clock's number is that of clock_getcpuclockid(3), which Python does not have.
    """
    return time.clock_gettime_ns(~pid << 3 | _SCHEDULED) / 1e6

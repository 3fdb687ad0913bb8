"""CPU time of another process, against what that process says of itself."""

import subprocess
import sys

import pytest

from benchmarks.processor_time import cpu_ms

WORK = """
import sys, threading, time

def work():
    end_s = time.thread_time() + 0.1
    while time.thread_time() < end_s:
        pass

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(time.process_time() * 1000, flush=True)
sys.stdin.read()
"""


def test_threads_that_have_ended_count() -> None:
    with subprocess.Popen([sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told_ms = float(process.stdout.readline())
        assert cpu_ms(process.pid) == pytest.approx(told_ms, rel=0.2)
        assert told_ms > 100
        process.communicate()

"""What is read of the processor, on this machine and on others."""

from pathlib import Path

import pytest
from edgedet_compression import processor

INTEL = "model name\t: A Processor @ 2 GHz\nflags\t\t: fpu {} avx2\n\nmodel name\t: Another\n"


def told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let /proc/cpuinfo have this text."""
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: text)


@pytest.mark.parametrize(("flag", "there"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)])
def test_bf16_is_found_among_the_flags(monkeypatch: pytest.MonkeyPatch, flag: str, there: bool):
    told(monkeypatch, INTEL.format(flag))
    assert processor.has_bf16() is there
    assert processor.processor_name() == "A Processor @ 2 GHz"


def test_a_processor_without_a_name_has_its_architecture(monkeypatch: pytest.MonkeyPatch):
    told(monkeypatch, "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16\n")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processor.processor_name() == "aarch64"
    assert not processor.has_bf16()


def test_without_such_a_file_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    assert processor.cpu_info("flags") == ""

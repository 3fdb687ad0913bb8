"""A CPU without VNNI computes the same codes and the same answers, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_qemu, pytest.mark.timeout(600)]


def digests(models: Path, photos: list[Path], *emulator: str) -> dict[str, str]:
    script = Path(__file__).with_name("digests.py")
    command = [*emulator, sys.executable, str(script), str(models), *map(str, photos)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("cpu", ["Haswell", "EPYC-Rome"])
def test_an_avx2_cpu_gives_the_same_codes_at_every_boundary_and_the_same_answers(
    cpu: str, models: Path, sample_photos: list[Path]
):
    photos = sample_photos[:: len(sample_photos) // 2]
    native = digests(models, photos)
    emulated = digests(models, photos, "qemu-x86_64", "-cpu", cpu)
    assert len(native) > 40
    assert emulated == native

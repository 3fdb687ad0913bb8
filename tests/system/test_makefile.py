"""What make does where an environment is not whole."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# As Debian's without ensurepip: there is a python afterwards, but no pip.
HALF_VENV = """#!/bin/sh
[ "$1" = -m ] || exit 0
mkdir -p "$3/bin" && touch "$3/bin/python"
echo "ensurepip is not available"
exit 1
"""


def test_without_a_cluster_down_needs_no_environment_that_works(tmp_path: Path):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), "-C", str(tmp_path), "VENV=venv", "down"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No cluster is running." in done.stdout


def test_a_virtual_environment_that_failed_is_made_again(tmp_path: Path):
    python, wanted = tmp_path / "python", tmp_path / "venv" / "bin" / "python"
    python.write_text(HALF_VENV)
    python.chmod(0o755)
    command = ["make", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", str(wanted)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "ensurepip is not available" in done.stdout
    assert not wanted.exists()

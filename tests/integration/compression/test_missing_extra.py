"""Without its third parties the command says what to install."""

import subprocess
import sys

BLOCKED = """
import sys
sys.modules["pycocotools"] = None
from edgedet_compression.cli import main
main()
"""


def test_a_missing_library_is_answered_with_the_extra_to_install():
    done = subprocess.run([sys.executable, "-c", BLOCKED], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs pycocotools.coco: pip install 'edgedet[compression]'" in done.stderr
    assert "Traceback" not in done.stderr

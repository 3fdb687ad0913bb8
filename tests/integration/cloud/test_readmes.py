"""The snippets of the READMEs run as they stand, but for the port."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.processes import Running

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("readme", "shown"), [("cloud_center", "[["), ("proto", "the cloud has it all\nInferReply(")])
def test_a_readmes_snippet_gets_an_answer(cloud: Running, readme: str, shown: str):
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / readme / "README.md").read_text(), re.DOTALL)
    program = snippet.replace("127.0.0.1:9000", cloud.address)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown)

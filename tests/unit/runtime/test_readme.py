"""The README's snippet runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_the_readmes_snippet_prints_detections(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "model_runtime/README.md").read_text(), re.DOTALL)
    assert len(snippets) == 1
    monkeypatch.chdir(ROOT)
    exec(compile(snippets[0], "model_runtime/README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("Detections(boxes=array(")

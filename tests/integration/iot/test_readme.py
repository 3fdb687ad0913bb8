"""The Python blocks of both READMEs that send photos, run as they stand but for the edges' addresses."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent


def run_snippet(readme: Path, addresses: dict[str, str]) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    for written, here in addresses.items():
        assert written in snippet
        snippet = snippet.replace(written, here)
    exec(compile(snippet, str(readme), "exec"), {})


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_projects_readme(edge, capsys):
    run_snippet(ROOT / "README.md", {"http://127.0.0.1:8080": edge.url})
    out = capsys.readouterr().out
    assert "truck" in out
    assert re.search(r"^edge \d+\.\d+ ms$", out, re.MULTILINE)


def test_the_clients_readme(edge, nobody, capsys):
    addresses = {"http://192.168.0.20:8080": nobody, "http://192.168.0.21:8080": edge.url}
    run_snippet(ROOT / "iot_client" / "README.md", addresses)
    out = capsys.readouterr().out
    assert "horse" in out
    assert edge.url in out

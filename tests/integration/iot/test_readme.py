import re
from pathlib import Path

README = Path(__file__).parent.parent.parent.parent / "iot_client" / "README.md"


def test_the_readmes_snippet_runs(edge, nobody, capsys, monkeypatch):
    monkeypatch.chdir(README.parent.parent)
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    here = snippet.replace("http://192.168.0.20:8080", nobody).replace("http://192.168.0.21:8080", edge.url)
    assert here != snippet
    exec(compile(here, str(README), "exec"), {})
    out = capsys.readouterr().out
    assert "horse" in out
    assert edge.url in out

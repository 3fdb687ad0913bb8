"""Settings: flags before environment before file before defaults; mistakes are told in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from edgedet_cloud.cli import app
from edgedet_cloud.server import address_of
from edgedet_cloud.settings import CloudSettings
from edgedet_runtime.layered_settings import UnknownSetting
from typer.testing import CliRunner


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "cloud.toml"
    config.write_text('port = 1\nthreads = 2\nhost = "10.0.0.1"\n')
    monkeypatch.setenv("EDGEDET_CLOUD_PORT", "3")
    monkeypatch.setenv("EDGEDET_CLOUD_THREADS", "4")
    settings = CloudSettings.load(config, {"port": 5, "threads": None})
    assert (settings.port, settings.threads, settings.host) == (5, 4, "10.0.0.1")
    assert settings.models == Path("models")


def test_a_misspelled_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEDET_CLOUD_THREAD", "4")
    with pytest.raises(UnknownSetting, match="EDGEDET_CLOUD_THREAD: no setting is called 'thread'; did you mean"):
        CloudSettings.load(None, {})


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1:9000"), ("cloud", "cloud:9000"), ("::1", "[::1]:9000")]
)
def test_an_ipv6_address_is_listened_on_in_brackets(host: str, address: str):
    assert address_of(host, 9000) == address


WIDE = {**os.environ, "COLUMNS": "300", "EDGEDET_CLOUD_PORT": "0"}
MISTAKES = {
    "port: Input should be less than or equal to 65535": (["--port", "70000"], ""),
    "log_level: Input should be 'debug', 'info' or 'warning'": (["--log-level", "loud"], ""),
    "threads: Input should be greater than or equal to 1": (["--threads", "0"], ""),
    "drain_s: Input should be a finite number": ([], "drain_s = inf"),
    "cloud.toml: no setting is called 'treads'; did you mean 'threads'? There are: drain_s,": ([], "treads = 1"),
    "is not TOML": ([], "port ="),
    "no package below /nowhere; a package is NAME/VERSION/manifest.json; --models names another folder": (
        ["--models", "/nowhere"],
        "",
    ),
}


@pytest.mark.parametrize(("reason", "given"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(reason: str, given: tuple[list[str], str], tmp_path: Path):
    config = tmp_path / "cloud.toml"
    config.write_text(given[1])
    result = CliRunner(env=WIDE).invoke(app, ["serve", "--config", str(config), *given[0]])
    assert result.exit_code == 2
    assert reason in result.stderr


def test_where_every_package_is_broken_the_first_reason_is_told(models: Path, tmp_path: Path):
    name = "small-lenet-w4a4-mnist"
    shutil.copytree(models / name / "1", tmp_path / name / "1")
    (tmp_path / name / "1" / "model.onnx").unlink()
    result = CliRunner(env=WIDE).invoke(app, ["serve", "--models", str(tmp_path)])
    assert result.exit_code == 2
    assert f"the first because of {tmp_path / name / '1'}: cannot read model.onnx" in result.stderr
    assert "--models names another folder" not in result.stderr


def test_a_health_check_loads_nothing_of_the_server():
    code = "import sys, edgedet_cloud.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "edgedet_cloud.settings" in loaded
    assert not {"onnx", "onnxruntime", "cv2", "numpy", "edgedet_cloud.dataplane"} & set(loaded)


@pytest.mark.parametrize("address", ["foo", "http://127.0.0.1:9000", "127.0.0.1:0", "::1:9000"])
def test_health_refuses_what_is_no_address_with_an_example(address: str):
    result = CliRunner(env=WIDE).invoke(app, ["health", "--address", address])
    assert result.exit_code == 2
    assert f"--address: '{address}' is not HOST:PORT; give it as 10.0.0.5:9000" in result.stderr

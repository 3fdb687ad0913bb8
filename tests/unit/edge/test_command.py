"""``edgedet-edge`` on the command line: help, faults named in one line, missing libraries."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgedet_edge.cli import app
from typer.testing import CliRunner

# Wide and plain: the messages are looked at, not their frames.
_PLAIN = {"COLUMNS": "1000", "NO_COLOR": "1", "TERM": "dumb", "EDGEDET_EDGE_PORT": "0"}


def serve(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["serve", *options], env=_PLAIN)
    return result.exit_code, result.output


def test_help_names_every_flag_and_says_what_it_is_for() -> None:
    code, text = serve("--help")
    assert code == 0
    for flag in ("--port", "--threads", "--cloud", "--redis", "--placement", "--models", "--forward-photos"):
        assert flag in text
    for flag in ("--keep-photos", "--allow-forced-boundary", "--advertise", "--node-id", "--backend", "--config"):
        assert flag in text
    for flag in ("--nvm-preset", "--chip", "--capacity"):
        assert flag in text
    assert "EDGEDET_EDGE_" in text
    assert "requests that name none (default: the task's first by name)" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--threads", "0"], "threads: Input should be greater than or equal to 1"),
        (["--cloud", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--placement", "best"], "placement: 'best' is not one of marginal-cost"),
        (["--cloud", "http://10.0.0.5:9000"], "'http://10.0.0.5:9000' is not HOST:PORT"),
        (["--redis", "mysql://x"], "redis: Redis URL must specify"),
        (
            ["--redis", "redis://x?db=1&tls=yes"],
            "redis: the URL has an option 'tls' that Redis connections do not know",
        ),
        (["--max-body-mb", "600"], "max_held_mb: 500 MB have no room for one photo of --max-body-mb 600"),
        (["--models", "no-such-folder"], f"models: no package below {Path.cwd() / 'no-such-folder'}; a package is"),
        (["--models", "no-such-folder"], "NAME/VERSION/manifest.json; --models names another folder"),
        (["--default-model", "nobody"], "default_model: no package 'nobody'"),
        (["--backend", "abacus"], "abacus"),
        (["--chip", "3"], "chip: --nvm-preset and --chip go with --backend nvm, and --backend is onnxruntime"),
        (["--nvm-preset", "ideal"], "nvm_preset: --nvm-preset and --chip go with --backend nvm"),
        (["--backend", "nvm", "--nvm-preset", "nor-flash-7nm"], "nor-flash-7nm"),
        (["--backend", "nvm", "--chip", "-1"], "chip: Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(options: list[str], told: str) -> None:
    code, text = serve(*options)
    assert code == 2
    assert told in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--backend", "nvm"], "has an ADC whose ranges need photos; run edgedet-nvm compile"),
        (["--capacity", "simulated"], "'onnxruntime' tells no simulated time here; take nvm"),
    ],
)
def test_where_packages_were_found_no_other_folder_is_proposed(few_models: Path, options: list[str], told: str) -> None:
    code, text = serve("--models", str(few_models), *options)
    assert code == 2
    assert told in text
    assert "--models names another folder" not in text


def test_a_file_that_is_not_toml_is_told(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("threads 2")
    code, text = serve("--config", str(path))
    assert code == 2
    assert "edge.toml is not TOML" in text.replace("\n", "")


def test_a_misspelled_line_of_the_file_is_told_with_the_file_and_the_names_there_are(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("thread = 2")
    code, text = serve("--config", str(path))
    assert code == 2
    for told in (
        str(path),
        "no setting is called 'thread'",
        "did you mean 'threads'",
        "advertise, allow_forced_boundary",
    ):
        assert told in text


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, text = serve("--port", port, "--models", "no-such-folder")
    assert code == 2
    assert "no-such-folder" not in text, "told before packages load"
    assert f"cannot listen on host '127.0.0.1', port {port}: Address already in use" in text


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("no such host", "Name or service not known"), ("x" * 70, "")],
)
def test_a_host_that_is_not_this_machine_is_told(host: str, reason: str) -> None:
    code, text = serve("--host", host, "--port", "0")
    assert code == 2
    assert f"cannot listen on host '{host}', port 0: {reason}" in text


@pytest.mark.parametrize("package", ["edgedet_edge", "edgedet_cloud"])
def test_interrupting_a_command_that_still_loads_ends_it_without_a_word(tmp_path: Path, package: str) -> None:
    # A module that stands in for a library, and tells that it is being loaded.
    loading = tmp_path / "loading"
    (tmp_path / "typer.py").write_text(f"import time\nopen({str(loading)!r}, 'w').close()\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", package, "serve"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        while not loading.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == b""
        assert process.returncode == 130
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("package", "library", "extra"),
    [
        ("edgedet_edge", "fastapi", "edge"),
        ("edgedet_cloud", "grpc", "cloud"),
        ("edgedet_iot", "httpx", "iot"),
        ("edgedet_nvm", "matplotlib", "nvm"),
    ],
)
def test_a_command_without_its_libraries_says_what_to_install(
    tmp_path: Path, package: str, library: str, extra: str
) -> None:
    # A module that stands in for the missing library, and fails as a missing one does.
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError('gone', name='{library}')")
    result = subprocess.run(
        [sys.executable, "-m", package, "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == f"edgedet-{extra} needs {library}: in a clone of EdgeDet, pip install '.[{extra}]'\n"

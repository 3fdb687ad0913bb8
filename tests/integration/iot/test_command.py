"""`edgedet-iot` as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

COMMAND = str(Path(sys.executable).with_name("edgedet-iot"))


def iot(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "160", **environment},
    )


def test_send_prints_what_is_in_the_photos_and_saves_them_annotated(edge, sample_photos, tmp_path):
    done = iot("send", sample_photos[0], sample_photos[1], "--edge", edge.url, "--save", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "bear" in done.stdout
    assert "edge, boundary" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [photo.name for photo in sample_photos[:2]]


def test_send_goes_on_after_a_bad_photo_and_exits_1(edge, sample_photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    done = iot("send", bad, tmp_path / "missing.jpg", sample_photos[0], EDGEDET_EDGES=edge.url)
    assert done.returncode == 1
    assert "bear" in done.stdout
    assert f"{bad}: 415" in done.stderr
    assert f"{tmp_path / 'missing.jpg'}: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_edges_come_from_the_environment_separated_by_commas(edge, nobody, sample_photos):
    done = iot("send", sample_photos[0], EDGEDET_EDGES=f"{nobody},{edge.url}")
    assert done.returncode == 0, done.stderr
    assert edge.url in done.stdout


def test_a_bad_url_is_refused_in_words(sample_photos):
    done = iot("send", sample_photos[0], "--edge", "ftp://camera")
    assert done.returncode == 2
    assert "is not the URL of an edge" in words_of(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("deadline_s", [-1, 0])
def test_a_deadline_that_is_over_is_refused_by_its_flag(deadline_s, nobody, sample_photos):
    done = iot("send", sample_photos[0], "--edge", nobody, "--deadline-s", deadline_s)
    assert done.returncode == 2
    assert "--deadline-s" in words_of(done.stderr)
    assert "0.001" in words_of(done.stderr)


def test_stream_prints_a_table_and_writes_json(edge, sample_photos, tmp_path):
    file = tmp_path / "report.json"
    options = ("--rate", 5, "--seconds", 1, "--arrivals", "regular", "--deadline-ms", 10_000, "--json", file)
    done = iot("stream", sample_photos[0].parent, "--edge", edge.url, *options)
    assert done.returncode == 0, done.stderr
    assert "answered: edge" in done.stdout
    report = json.loads(file.read_text())
    assert report["by_status"] == {"200": 5}
    assert report["by_placement"]["all"]["count"] == 5


def test_stream_takes_rate_and_seconds_from_the_environment_and_empty_means_unset(edge, sample_photos, tmp_path):
    file = tmp_path / "report.json"
    environment = {"EDGEDET_EDGES": edge.url, "EDGEDET_RATE": "10", "EDGEDET_SECONDS": "1"}
    assert iot("stream", sample_photos[0].parent, "--json", file, **environment).returncode == 0
    assert json.loads(file.read_text())["seconds"] == 1
    environment["EDGEDET_RATE"] = ""
    assert iot("stream", sample_photos[0].parent, "--json", file, **environment).returncode == 0
    assert json.loads(file.read_text())["offered"] <= 10


def test_ctrl_c_prints_the_table_of_what_was_done(edge, sample_photos):
    command = [COMMAND, "stream", str(sample_photos[0].parent), "--rate", "20", "--edge", edge.url]
    environment = {**os.environ, "EDGEDET_SECONDS": "", "PYTHONUNBUFFERED": "1"}
    answered_before = answered_by(edge.url)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 30
        while answered_by(edge.url) < answered_before + 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "offered" in out
    assert "Traceback" not in err


def test_a_second_ctrl_c_does_not_wait_for_photos_on_their_way(sample_photos):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [COMMAND, "stream", str(sample_photos[0].parent), "--edge", edge, "--deadline-ms", "600000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                # The second may come before the first was seen to: then one more has to.
                ended = False
                deadline = time.monotonic() + 30
                while not ended and time.monotonic() < deadline:
                    process.send_signal(signal.SIGINT)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=1)
                        ended = True
                _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err


def answered_by(edge: str) -> int:
    text = httpx.get(f"{edge}/metrics", trust_env=False).text
    counts = [line.split()[-1] for line in text.splitlines() if line.startswith("edgedet_request_seconds_count")]
    return sum(int(float(count)) for count in counts)


def test_a_stream_that_nobody_answers_exits_1(nobody, sample_photos):
    done = iot("stream", sample_photos[0].parent, "--edge", nobody, "--rate", 20, "--seconds", 0.5)
    assert done.returncode == 1
    assert "unreachable" in done.stdout


def test_an_infinite_rate_is_refused_in_words(nobody, sample_photos):
    done = iot("stream", sample_photos[0].parent, "--edge", nobody, "--rate", "inf")
    assert done.returncode == 2
    assert "rate must be above 0 photos a second, and finite, not inf" in words_of(done.stderr)


def test_stream_takes_the_model_and_classifies(edge, sample_photos, tmp_path):
    file = tmp_path / "report.json"
    options = ("--rate", 5, "--seconds", 1, "--arrivals", "regular", "--deadline-ms", 10_000, "--json", file)
    photos = sample_photos[0].parent
    classified = iot("stream", photos, "--edge", edge.url, "--model", "resnet20-cifar10", "--classify", *options)
    assert classified.returncode == 0, classified.stderr
    assert json.loads(file.read_text())["by_status"] == {"200": 5}
    # The same model cannot detect: the edge's word shows that both options reach it.
    detected = iot("stream", photos, "--edge", edge.url, "--model", "resnet20-cifar10", *options)
    assert detected.returncode == 1
    assert json.loads(file.read_text())["by_status"] == {"404": 5}
    assert detected.stderr.count("404 Unknown model: model: no package 'resnet20-cifar10' for task 'detect'") == 1


@pytest.mark.parametrize("command", ["send", "stream"])
def test_nobody_there_comes_with_how_to_start_an_edge(command, nobody, sample_photos):
    what = [sample_photos[0], sample_photos[1]] if command == "send" else [sample_photos[0].parent, "--seconds", 0.5]
    done = iot(command, *what, "--edge", nobody)
    assert done.returncode == 1
    assert done.stderr.count(f"edgedet-edge serve --port {nobody.rpartition(':')[2]}") == 1


def test_a_folder_instead_of_photos_is_refused_with_what_to_do(nobody, sample_photos, tmp_path):
    done = iot("send", sample_photos[0], tmp_path, "--edge", nobody)
    assert done.returncode == 2
    words = words_of(done.stderr)
    assert f"{tmp_path}/*.jpg" in words
    assert f"edgedet-iot stream {tmp_path}" in words
    assert nobody not in words  # nothing was sent


def test_a_path_that_no_file_can_have_costs_its_own_photo_alone(edge, sample_photos, tmp_path):
    done = iot("send", tmp_path / f"{'a' * 300}.jpg", sample_photos[0], "--edge", edge.url)
    assert done.returncode == 1
    assert "File name too long" in words_of(done.stderr)
    assert f"{sample_photos[0].name}: " in done.stdout


@pytest.mark.parametrize(("folder", "reason"), [("file", "it is a file"), ("file/below", "Not a directory")])
@pytest.mark.parametrize("option", ["--save", "--json"])
def test_a_folder_that_takes_no_files_is_told_before_anything_is_sent(
    option, folder, reason, nobody, sample_photos, tmp_path
):
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / folder
    if option == "--save":
        done = iot("send", sample_photos[0], "--save", target, "--edge", nobody)
    else:
        done = iot("stream", sample_photos[0].parent, "--json", target / "report.json", "--edge", nobody)
    assert done.returncode == 2
    assert f"{option}: cannot write into {target} ({reason}); give another folder" in words_of(done.stderr)
    assert nobody not in done.stderr


def test_a_full_disk_is_told_with_the_file_and_what_to_do(edge, sample_photos, tmp_path):
    target = tmp_path / sample_photos[0].name
    target.symlink_to("/dev/full")
    done = iot("send", sample_photos[0], "--save", tmp_path, "--edge", edge.url)
    assert done.returncode == 1
    assert f"answered, but {target} cannot be written (No space left on device)" in done.stderr
    assert "give --save another folder" in done.stderr


def test_a_report_that_finds_the_disk_full_is_told_in_words(nobody, sample_photos, tmp_path):
    file = tmp_path / "report.json"
    file.symlink_to("/dev/full")
    done = iot("stream", sample_photos[0].parent, "--edge", nobody, "--rate", 20, "--seconds", 0.2, "--json", file)
    assert done.returncode == 1
    assert f"--json: {file} cannot be written (No space left on device)" in done.stderr
    assert "offered" in done.stdout
    assert "Traceback" not in done.stderr


def test_nothing_found_is_said_without_a_table(edge, sample_photos):
    done = iot("send", sample_photos[0], "--score-threshold", 1, "--edge", edge.url)
    assert done.returncode == 0, done.stderr
    assert "nothing found" in done.stdout
    assert "label" not in done.stdout


@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "edgedet_iot"]])
def test_ctrl_c_while_libraries_are_loaded_ends_the_command_quietly(command, tmp_path):
    # A module that stands in for a library, and is interrupted as by Ctrl-C while it is loaded.
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def words_of(text: str) -> str:
    """What a framed message says, its lines joined."""
    return " ".join(text.replace("│", " ").split())


def test_a_folder_without_photos_is_refused_in_words(tmp_path):
    done = iot("stream", tmp_path)
    assert done.returncode == 2
    assert "neither JPEG nor PNG" in words_of(done.stderr)


def test_saving_never_overwrites_a_photo(nobody, sample_photos, tmp_path):
    for name in ("a/photo.jpg", "b/photo.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(sample_photos[0].read_bytes())
    onto_itself = iot("send", tmp_path / "a/photo.jpg", "--save", tmp_path / "a", "--edge", nobody)
    assert onto_itself.returncode == 2
    assert "is one of the photos to send" in words_of(onto_itself.stderr)
    alike = iot("send", tmp_path / "a/photo.jpg", tmp_path / "b/photo.jpg", "--save", tmp_path / "c", "--edge", nobody)
    assert alike.returncode == 2
    assert "would both become" in words_of(alike.stderr)
    assert not any((tmp_path / "c").iterdir())
    assert (tmp_path / "a/photo.jpg").read_bytes() == sample_photos[0].read_bytes()

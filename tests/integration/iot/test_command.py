"""`edgedet-iot` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

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
    assert "is not the URL of an edge" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


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


def answered_by(edge: str) -> int:
    text = httpx.get(f"{edge}/metrics", trust_env=False).text
    counts = [line.split()[-1] for line in text.splitlines() if line.startswith("edgedet_request_seconds_count")]
    return sum(int(float(count)) for count in counts)


def test_a_stream_that_nobody_answers_exits_1(nobody, sample_photos):
    done = iot("stream", sample_photos[0].parent, "--edge", nobody, "--rate", 20, "--seconds", 0.5)
    assert done.returncode == 1
    assert "unreachable" in done.stdout


def test_a_folder_without_photos_is_refused_in_words(tmp_path):
    done = iot("stream", tmp_path)
    assert done.returncode == 2
    assert "neither JPEG nor PNG" in " ".join(done.stderr.split())

"""Whatever comes in: a problem document each time, memory bounded, and the next photo is answered."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from edgedet_edge import schemas
from PIL import Image

from demo.processes import Running, start_edge, stopping
from tests.integration.edge.asking import (
    client_of,
    detect,
    forget_peak,
    open_files,
    peak_mb,
    rss_mb,
    suspended,
    wait_for,
)
from tests.integration.edge.raw_http import connected, post

_MB = 1_000_000
_HUGE = 200 * _MB


@pytest.fixture(scope="module")
def client(edge: Running, photo: bytes) -> Iterator[httpx.Client]:
    with client_of(edge) as client:
        assert detect(client, photo).status_code == 200
        yield client


@pytest.fixture(autouse=True)
def _the_next_photo_is_answered(client: httpx.Client, photo: bytes) -> Iterator[None]:
    yield
    assert detect(client, photo).status_code == 200


def png(width: int, height: int, *, with_pixels: bool) -> bytes:
    """One bit per pixel, all black: the smallest file for so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = bytes(height * (1 + (width + 7) // 8)) if with_pixels else b""
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def jpeg_that_says(photo: bytes, width: int, height: int) -> bytes:
    """The photo with another size in its frame header."""
    position = next(at for at in range(len(photo)) if photo[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return photo[: position + 5] + struct.pack(">HH", height, width) + photo[position + 9 :]


def is_problem(response: httpx.Response, *statuses: int) -> schemas.Problem:
    assert response.status_code in statuses, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = schemas.Problem.model_validate_json(response.content)
    assert problem.status == response.status_code
    assert problem.type.startswith("urn:edgedet:problem:")
    assert problem.title
    assert problem.detail
    assert problem.request_id == response.headers["X-Request-Id"]
    return problem


def test_zero_bytes_are_refused(client: httpx.Client) -> None:
    assert "empty" in is_problem(detect(client, b""), 400).detail


@pytest.mark.parametrize("kept", [3, 100, 1000, 0.5, 0.99])
def test_a_truncated_jpeg_is_refused(client: httpx.Client, photo: bytes, kept: float) -> None:
    length = int(kept) if kept > 1 else int(kept * len(photo))
    is_problem(detect(client, photo[:length]), 400)


@pytest.mark.parametrize("kept", [8, 20, 40, 0.5, 0.99])
def test_a_truncated_png_is_refused(client: httpx.Client, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    length = int(kept) if kept > 1 else int(kept * len(file.getvalue()))
    is_problem(detect(client, file.getvalue()[:length]), 400)


def test_text_sent_as_a_photo_is_refused(client: httpx.Client) -> None:
    is_problem(detect(client, b"a photo, honestly"), 415)


def test_a_photo_of_another_format_is_refused(client: httpx.Client) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "WEBP")
    is_problem(detect(client, file.getvalue()), 415)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/webp", "multipart/mixed", "x"])
def test_a_wrong_content_type_is_refused(client: httpx.Client, photo: bytes, content_type: str) -> None:
    response = client.post("/v1/detect", content=photo, headers={"Content-Type": content_type})
    assert repr(content_type) in is_problem(response, 415).detail


@pytest.mark.parametrize("with_pixels", [False, True])
def test_a_bomb_is_refused_by_its_header(client: httpx.Client, edge: Running, with_pixels: bool) -> None:
    bomb = png(30_000, 30_000, with_pixels=with_pixels)
    assert len(bomb) < _MB
    forget_peak(edge)
    before = peak_mb(edge)
    assert "900.0 megapixels" in is_problem(detect(client, bomb), 413).detail
    assert peak_mb(edge) - before < 20


def test_a_jpeg_that_says_it_is_huge_is_refused(client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(client, jpeg_that_says(photo, 65_000, 65_000)), 413)


def test_a_jpeg_that_lies_about_its_size_is_refused_or_answered(client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(client, jpeg_that_says(photo, 5000, 5000)), 400)
    is_problem(detect(client, jpeg_that_says(photo, 0, 0)), 400)


@pytest.mark.parametrize("announced", [True, False], ids=["with-a-length", "in-chunks"])
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_a_huge_body_is_refused_without_being_held(
    client: httpx.Client, edge: Running, announced: bool, form: bool
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n' if form else b"\xff\xd8\xff"

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(_HUGE // _MB):
            yield bytes(_MB)

    headers = {"Content-Type": "multipart/form-data; boundary=b" if form else "image/jpeg"}
    if announced:
        headers["Content-Length"] = str(len(head) + _HUGE)
    forget_peak(edge)
    before = peak_mb(edge)
    problem = is_problem(client.post("/v1/detect", content=body(), headers=headers), 413)
    assert "20 MB" in problem.detail
    assert peak_mb(edge) - before < 100, "twice what a body may have, for its pieces and their sum, and some slack"


def test_a_client_that_asks_before_it_sends_a_huge_body_need_not_send_it(edge: Running) -> None:
    with connected(edge) as connection:
        connection.send(
            f"POST /v1/detect HTTP/1.1\r\nHost: e\r\nContent-Length: {_HUGE}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.response().status == 413


def test_photos_that_are_sent_at_once_share_a_bounded_memory(log_folder: Path, photo: bytes) -> None:
    settings = log_folder / "small.toml"
    settings.write_text("max_held_mb = 0.5\n")
    with (
        stopping(start_edge(log_folder, "--config", str(settings), name="small")) as (small,),
        client_of(small) as client,
        connected(small) as first,
        connected(small) as second,
    ):
        half = photo[:100_000] + bytes(300_000)
        for connection in (first, second):
            connection.send(post(half)[:-100_000])
        refused = second.response()
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        second.socket.close()
        first.send(half[-100_000:])
        assert first.response().status == 400
        assert detect(client, photo).status_code == 200, "what was held is free again"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("score_threshold=2", "score_threshold"),
        ("score_threshold=-0.1", "score_threshold"),
        ("score_threshold=nan", "score_threshold"),
        ("iou_threshold=high", "iou_threshold"),
        ("max_detections=0", "max_detections"),
        ("max_detections=1.5", "max_detections"),
        ("max_detections=99999999999999999999", "max_detections"),
        ("boundary=-1", "boundary"),
        ("boundary=1e9", "boundary"),
        ("boundary=1000", "boundary"),
        ("format=gif", "format"),
        ("score_treshold=0.5", "score_treshold"),
        ("model=" + "x" * 300, "model"),
    ],
)
def test_a_bad_query_value_is_named(client: httpx.Client, photo: bytes, query: str, named: str) -> None:
    response = client.post(f"/v1/detect?{query}", content=photo)
    assert named in is_problem(response, 422).detail


@pytest.mark.parametrize("name", ["nobody", "yolov3-tiny-coco:99", "../models", "%00"])
def test_an_unknown_model_is_not_found(client: httpx.Client, photo: bytes, name: str) -> None:
    assert "yolov3-tiny-coco:1" in is_problem(detect(client, photo, model=name), 404).detail


@pytest.mark.parametrize("deadline", ["abc", "-5", "0", "nan", "inf", "1e12", ""])
def test_a_bad_deadline_is_refused(client: httpx.Client, photo: bytes, deadline: str) -> None:
    response = client.post("/v1/detect", content=photo, headers={"X-Deadline-Ms": deadline})
    assert "X-Deadline-Ms" in is_problem(response, 422).detail


_PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"--b",
        b"--b--\r\n",
        b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        _PART + b"cut off",
        _PART.replace(b"image", b"photo") + b"x\r\n--b--\r\n",
        _PART.replace(b'; filename="p.jpg"', b"") + b"x\r\n--b--\r\n",
        _PART + b"x\r\n" + _PART + b"x\r\n--b--\r\n",
        _PART + b"x\r\n--b--\r\n",
    ],
)
def test_a_broken_form_is_refused(client: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    is_problem(client.post("/v1/detect", content=body, headers=headers), 400, 415)


@pytest.mark.parametrize("parameters", ["", "; boundary=", "; charset=x", '; boundary="'])
def test_a_form_without_a_boundary_is_refused(client: httpx.Client, parameters: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{parameters}"}
    is_problem(client.post("/v1/detect", content=_PART + b"x\r\n--b--\r\n", headers=headers), 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/detect", 405), ("POST", "/v1/models", 405), ("GET", "/nothing", 404), ("GET", "/v1/models/x", 404)],
)
def test_a_wrong_path_or_method_is_a_problem_as_well(client: httpx.Client, method: str, path: str, status: int) -> None:
    is_problem(client.request(method, path), status)


@pytest.mark.parametrize("query", ["window_s=0", "window_s=61", "window_s=x", "scope=world"])
def test_a_bad_window_or_scope_is_refused(client: httpx.Client, query: str) -> None:
    for view in ("latency", "offload"):
        is_problem(client.get(f"/v1/metrics/{view}?{query}"), 422)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/metrics/latency", "scope, window_s"),
        ("/v1/metrics/offload", "scope, window_s"),
        ("/v1/cluster", "none"),
        ("/v1/models", "none"),
        ("/v1/models/yolov3-tiny-coco", "none"),
        ("/metrics", "none"),
    ],
)
def test_a_misspelled_parameter_is_named_with_those_there_are(client: httpx.Client, path: str, known: str) -> None:
    problem = is_problem(client.get(f"{path}?windows=5"), 422)
    assert problem.detail == f"query: nothing is called 'windows' here; there are: {known}"


def test_health_takes_whatever_query_a_load_balancer_adds(client: httpx.Client) -> None:
    for state in ("live", "ready"):
        assert client.get(f"/health/{state}?probe=1").json() == {"status": state}


@pytest.mark.parametrize("request_bytes", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET  / HTTP/9.9\r\n\r\n"])
def test_what_is_not_http_is_a_problem(edge: Running, request_bytes: bytes) -> None:
    with connected(edge) as connection:
        connection.send(request_bytes)
        response = connection.response()
        assert response.status == 400
        assert response.headers["content-type"] == "application/problem+json"
        schemas.Problem.model_validate(response.json())
        assert connection.is_closed_by_the_edge()


@pytest.mark.parametrize("endless", [b"X-A: b\r\n" * 1000, b"x" * 8000], ids=["headers", "one-header"])
def test_endless_headers_are_cut_off(edge: Running, endless: bytes) -> None:
    forget_peak(edge)
    before = peak_mb(edge)
    with connected(edge) as connection:
        connection.send(b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nX-Long: ")
        for _ in range(5_000):
            connection.send(endless)
        assert connection.response().status == 431
        assert connection.is_closed_by_the_edge()
    assert peak_mb(edge) - before < 20


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("nbytes", [65_000, 70_000, 150_000, 250_000])
def test_headers_have_a_limit_however_they_come(edge: Running, photo: bytes, method: str, nbytes: int) -> None:
    body = photo if method == "POST" else b""
    path = "/v1/detect" if method == "POST" else "/health/live"
    for one in (b"X-Long: " + b"x" * nbytes + b"\r\n", b"X-Abcdefg: abcdef\r\n" * (nbytes // 19)):
        with connected(edge) as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n".encode()
            connection.send(head + one + b"\r\n" + body)
            assert connection.response().status == (200 if nbytes < 64 << 10 else 431)


@pytest.mark.parametrize("body_bytes", [0, 80_000])
def test_a_request_that_is_refused_in_one_piece_leaves_no_connection_behind(
    edge: Running, photo: bytes, body_bytes: int
) -> None:
    before = open_files(edge)
    with connected(edge) as connection:
        for _ in range(5):  # until the kernel takes so much at once
            connection.send(post(photo))
            assert connection.response().status == 200
        with suspended(edge):
            connection.send(post(bytes(body_bytes), X_Long="x" * 70_000))
        assert connection.response().status == 431
        wait_for(lambda: open_files(edge) == before, "the end of a connection that its client keeps open")


def test_endless_trailers_are_cut_off(edge: Running) -> None:
    with connected(edge) as connection:
        connection.send(b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for _ in range(1_000):
            connection.send(b"X-A: b\r\n" * 1000)
        assert connection.response().status in (400, 431)
        assert connection.is_closed_by_the_edge()


def test_an_upgrade_is_not_followed(edge: Running, photo: bytes) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    with connected(edge) as connection:
        connection.send(post(photo, **upgrade))
        assert connection.response().status == 400
    with connected(edge) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.response().status == 200


def test_many_bad_requests_leave_no_memory_behind(client: httpx.Client, edge: Running, photo: bytes) -> None:
    bad = [photo[: len(photo) // 2], b"", b"text", png(30_000, 30_000, with_pixels=True), photo[:5000] + photo[9000:]]

    def ask_all(times: int) -> None:
        for _ in range(times):
            for content in bad:
                assert 400 <= detect(client, content).status_code < 500

    ask_all(5)
    before = rss_mb(edge)
    ask_all(40)
    assert rss_mb(edge) - before < 10

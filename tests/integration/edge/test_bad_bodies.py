"""Bodies too large, too many, or broken forms: a problem document, memory bounded, and the next photo is answered."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.processes import Running, start_edge, stopping
from tests.integration.edge.asking import client_of, detect, forget_peak, is_problem, peak_mb
from tests.integration.edge.raw_http import connected, post

pytestmark = pytest.mark.usefixtures("next_photo_is_answered")

_MB = 1_000_000
_HUGE = 200 * _MB
_PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'


@pytest.mark.parametrize("announced", [True, False], ids=["with-a-length", "in-chunks"])
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_a_huge_body_is_refused_without_being_held(
    client: httpx.Client, edge: Running, announced: bool, form: bool
) -> None:
    head = _PART if form else b"\xff\xd8\xff"

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
    settings.write_text("max_body_mb = 0.5\nmax_held_mb = 0.5\n")
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


def test_a_form_in_a_charset_that_decodes_nothing_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b; charset=undefined"}
    is_problem(client.post("/v1/detect", content=_PART + b"x\r\n--b--\r\n", headers=headers), 400)


@pytest.mark.parametrize("parameters", ["", "; boundary=", "; charset=x", '; boundary="'])
def test_a_form_without_a_boundary_is_refused(client: httpx.Client, parameters: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{parameters}"}
    is_problem(client.post("/v1/detect", content=_PART + b"x\r\n--b--\r\n", headers=headers), 400)

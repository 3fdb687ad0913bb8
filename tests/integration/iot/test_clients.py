"""Both clients against a real edge."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from edgedet_iot import AsyncClient, Client, DeadlineMissed, NotAnAnswer, Overloaded, PhotoRejected, Unreachable


def test_a_photo_is_answered_alike_by_both_clients(edge, sample_photos):
    async def ask():
        async with AsyncClient(edge.url) as client:
            return [await client.detect(photo) for photo in sample_photos]

    with Client(edge.url) as client:
        answers = [client.detect(photo) for photo in sample_photos]
    assert [one.detections for one in asyncio.run(ask())] == [one.detections for one in answers]
    bear = answers[0].detections[0]
    assert bear.label == "bear"
    assert 0 <= bear.box.x1 < bear.box.x2 <= answers[0].image.width
    assert answers[0].route.placement == "edge"
    assert answers[0].edge == edge.url


def test_options_reach_the_edge(edge, sample_photos):
    with Client(edge.url) as client:
        every = client.detect(sample_photos[0], score_threshold=0.0, max_detections=7)
        none = client.detect(sample_photos[0], score_threshold=1.0, model="yolov3-tiny-coco:1")
        last = client.detect(sample_photos[0], boundary=every.route.boundary)
    assert len(every.detections) == 7
    assert none.detections == ()
    assert last.route.reason == "forced"


def test_an_annotated_photo_is_a_jpeg(edge, sample_photos):
    with Client(edge.url) as client:
        drawn = client.annotate(sample_photos[0])
    assert drawn.startswith(b"\xff\xd8\xff")
    assert drawn != sample_photos[0].read_bytes()


class Portal(BaseHTTPRequestHandler):
    """Answers everything with a page, as the portal of a guests' network does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, *_: object) -> None: ...


def test_a_page_is_no_annotated_photo(sample_photos):
    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"

        async def ask():
            async with AsyncClient(url) as client:
                await client.annotate(sample_photos[0])

        try:
            with Client(url) as client, pytest.raises(NotAnAnswer, match="did not answer a JPEG"):
                client.annotate(sample_photos[0])
            with pytest.raises(NotAnAnswer, match="did not answer a JPEG"):
                asyncio.run(ask())
        finally:
            server.shutdown()


def test_photos_sent_at_once_are_answered_each_with_its_own(edge, sample_photos):
    async def ask():
        async with AsyncClient(edge.url, deadline_s=30) as client:
            return await asyncio.gather(*(client.detect(photo) for photo in sample_photos))

    with Client(edge.url) as client:
        one_by_one = [client.detect(photo).detections for photo in sample_photos]
    assert [answer.detections for answer in asyncio.run(ask())] == one_by_one


@pytest.mark.parametrize(
    ("photo", "options", "status"),
    [
        (b"", {}, 400),
        (b"no photo at all", {}, 415),
        (b"\xff\xd8\xff\xe0 cut off", {}, 400),
        (None, {"model": "nobody"}, 404),
        (None, {"score_threshold": 2.0}, 422),
    ],
)
def test_a_photo_or_query_at_fault_is_rejected_with_the_edges_words(edge, sample_photos, photo, options, status):
    with Client(edge.url) as client, pytest.raises(PhotoRejected) as caught:
        client.detect(sample_photos[0] if photo is None else photo, **options)
    assert caught.value.problem.status == status
    assert caught.value.problem.detail in str(caught.value)
    assert caught.value.problem.request_id


def test_a_deadline_that_nobody_can_keep_is_missed_or_refused(edge, sample_photos):
    with Client(edge.url, retries=0) as client, pytest.raises((DeadlineMissed, Overloaded)):
        client.detect(sample_photos[0], deadline_s=0.001)


def test_nobody_there_is_told_as_unreachable(nobody, sample_photos):
    with Client(nobody, retries=1) as client, pytest.raises(Unreachable, match=nobody):
        client.detect(sample_photos[0])


def test_a_missing_file_is_an_os_error(edge, tmp_path):
    with Client(edge.url) as client, pytest.raises(FileNotFoundError):
        client.detect(tmp_path / "nothing.jpg")

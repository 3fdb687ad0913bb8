"""Load generators against small servers of our own."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from benchmarks.http_overhead import loading
from benchmarks.open_loop import generate, poisson_times


@contextmanager
def serving(status_of: list[int], pause_s: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers with these statuses in turn; the bodies that it got."""
    bodies: list[bytes] = []
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                bodies.append(body)
                status = status_of[len(bodies) % len(status_of)]
            time.sleep(pause_s)
            if status == 0:
                self.close_connection = True
                return
            answer = b"{}" * 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/detect?boundary=3", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_arrivals_have_their_rate_and_come_again_with_their_seed() -> None:
    times_s = poisson_times(200.0, 20.0, seed=1)
    assert len(times_s) == pytest.approx(4000, rel=0.1)
    assert times_s == sorted(times_s) == poisson_times(200.0, 20.0, seed=1)
    assert times_s != poisson_times(200.0, 20.0, seed=2)


def test_every_photo_is_sent_and_counted_by_its_status() -> None:
    photos = [b"first" * 10_000, b"second" * 100]
    with serving([200, 429]) as (url, bodies):
        result = generate(url, photos, rate=100.0, seconds=1.0, warm_up=0.0, seed=0, deadline_ms=5000.0)
    assert result.sent == len(bodies) == result.cpu_photos
    assert set(bodies) == set(photos)
    assert result.statuses == {"200": result.good, "429": result.sent - result.good}
    assert result.good == pytest.approx(result.sent / 2, abs=1)


def test_the_time_elapsed_reaches_from_the_warm_up_to_the_last_answer() -> None:
    with serving([200], pause_s=0.3) as (url, _):
        result = generate(url, [b"photo"], rate=100.0, seconds=0.1, warm_up=0.1, seed=0, deadline_ms=5000.0)
    assert result.elapsed_s > poisson_times(100.0, 0.2, seed=0)[-1] + 0.3


def test_the_warm_up_does_not_count() -> None:
    with serving([200]) as (url, bodies):
        result = generate(url, [b"photo"], rate=100.0, seconds=0.5, warm_up=0.5, seed=0, deadline_ms=5000.0)
    assert result.sent < len(bodies) == result.cpu_photos


def test_an_answer_after_the_deadline_is_not_good() -> None:
    with serving([200], pause_s=0.1) as (url, _):
        result = generate(url, [b"photo"], rate=20.0, seconds=0.5, warm_up=0.0, seed=0, deadline_ms=50.0)
    assert result.statuses == {"200": result.sent}
    assert result.good == 0
    assert result.latencies_ms["p50"] >= 100.0


def test_a_broken_connection_is_a_lost_photo() -> None:
    with serving([0]) as (url, _):
        result = generate(url, [b"photo"], rate=20.0, seconds=0.5, warm_up=0.0, seed=0, deadline_ms=500.0)
    assert result.statuses == {"0": result.sent}


def test_a_load_that_was_none_is_told() -> None:
    with (
        serving([503]) as (url, _),
        pytest.raises(RuntimeError, match="the edge answered 503"),
        loading(urlsplit(url).netloc),
    ):
        pass

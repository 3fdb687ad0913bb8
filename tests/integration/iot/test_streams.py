"""Open-loop streams to a real edge."""

import asyncio
import socket
import sys
import time

import pytest
from edgedet_iot import StreamReport, stream


def run(*args, **options) -> StreamReport:
    return asyncio.run(stream(*args, **options))


def test_below_the_capacity_every_photo_is_answered(edge, sample_photos):
    report = run(edge.url, sample_photos, rate=5, seconds=2, arrivals="regular", deadline_s=10)
    assert report.offered == 10
    assert report.by_status == {"200": 10}
    assert report.by_edge == {edge.url: 10}
    assert report.by_placement["edge"] == report.by_placement["all"]
    assert report.lost == 0


def test_far_above_the_capacity_the_rest_is_refused_and_none_is_lost(edge, sample_photos):
    report = run(edge.url, sample_photos, rate=200, seconds=4, seed=1, deadline_s=2)
    assert sum(report.by_status.values()) == report.offered
    assert report.by_status["200"] > 0
    assert report.by_status["429"] > 0
    assert set(report.by_status) <= {"200", "429", "504", "not sent in time"}
    assert report.lost == 0


def test_photos_are_sent_whether_or_not_earlier_ones_are_answered(sample_photos):
    """A server that answers one photo at a time: an open loop sees the queue grow, a closed loop would not."""
    took_s = 0.05

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with turn:
            await asyncio.sleep(took_s)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 415 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    turn = asyncio.Lock()

    async def main() -> float:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        start = time.monotonic()
        async with server:
            await stream(f"http://127.0.0.1:{port}", sample_photos[:1], rate=100, seconds=0.2, arrivals="regular")
        return time.monotonic() - start

    # 20 photos were sent in 0.2 s without waiting for answers; the server took 20 turns of 0.05 s.
    assert asyncio.run(main()) >= 20 * took_s


def test_a_stopped_stream_keeps_its_books(edge, sample_photos):
    async def main() -> StreamReport:
        stop = asyncio.Event()
        heard: list[StreamReport] = []

        def hear(report: StreamReport) -> None:
            heard.append(report)
            if report.answered:
                stop.set()

        report = await stream(edge.url, sample_photos, rate=10, stop=stop, on_progress=hear)
        assert heard
        assert report.offered >= heard[-1].offered
        return report

    report = asyncio.run(main())
    assert sum(report.by_status.values()) == report.offered > 0


def test_a_dead_edge_is_told_as_unreachable(nobody, sample_photos):
    report = run(nobody, sample_photos, rate=50, seconds=0.2, arrivals="regular")
    assert report.by_status == {"unreachable": 10}
    assert report.lost == 10
    assert report.by_placement == {}


def test_a_photo_that_is_gone_does_not_end_the_stream(nobody, sample_photos, tmp_path):
    photos = [sample_photos[0], tmp_path / "gone.jpg"]
    report = run(nobody, photos, rate=50, seconds=0.2, arrivals="regular")
    assert report.by_status == {"not readable": 5, "unreachable": 5}
    assert report.lost == 5


def test_a_stream_fails_over(edge, nobody, sample_photos):
    report = run([nobody, edge.url], sample_photos, rate=5, seconds=1, arrivals="regular", deadline_s=10)
    assert report.by_edge == {edge.url: 5}


def test_an_edge_that_hangs_costs_the_photos_of_one_deadline(edge, sample_photos):
    """Its own word is awaited for longer than photos are sent here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        report = run([url, edge.url], sample_photos, rate=5, seconds=3, arrivals="regular", deadline_s=1)
    assert set(report.by_status) == {"200", "no answer"}
    assert report.by_status["200"] >= 3


def test_a_cancelled_stream_tells_no_more_progress(nobody, sample_photos, monkeypatch):
    monkeypatch.setattr(sys.modules["edgedet_iot.stream"], "PROGRESS_S", 0.01)

    async def main() -> None:
        heard = asyncio.Event()
        sending = asyncio.create_task(stream(nobody, sample_photos, rate=10, on_progress=lambda _: heard.set()))
        await heard.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_fault_in_what_hears_of_progress_comes_out(nobody, sample_photos, monkeypatch):
    monkeypatch.setattr(sys.modules["edgedet_iot.stream"], "PROGRESS_S", 0.01)

    def hear(_: StreamReport) -> None:
        raise KeyError("hear")

    with pytest.raises(ExceptionGroup) as caught:
        run(nobody, sample_photos, rate=10, seconds=30, on_progress=hear)
    assert caught.group_contains(KeyError)


def test_nothing_to_send_is_refused(edge):
    with pytest.raises(ValueError, match="no photos"):
        run(edge.url, [], rate=1, seconds=1)

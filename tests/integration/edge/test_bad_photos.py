"""Whatever is sent as a photo: a problem document each time, memory bounded, and the next photo is answered."""

import io
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from demo.processes import Running
from tests.integration.edge.asking import detect, forget_peak, is_problem, peak_mb, rss_mb

pytestmark = pytest.mark.usefixtures("next_photo_is_answered")

_MB = 1_000_000


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


def test_a_photo_that_is_too_wide_to_be_drawn_is_answered_as_a_document(client: httpx.Client) -> None:
    wide = png(70_000, 500, with_pixels=True)
    is_problem(detect(client, wide, format="image"), 413)
    assert detect(client, wide).status_code == 200


def test_a_jpeg_that_says_it_is_huge_is_refused(client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(client, jpeg_that_says(photo, 65_000, 65_000)), 413)


def test_a_jpeg_that_lies_about_its_size_is_refused_or_answered(client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(client, jpeg_that_says(photo, 5000, 5000)), 400)
    is_problem(detect(client, jpeg_that_says(photo, 0, 0)), 400)


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

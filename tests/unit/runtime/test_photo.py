"""Photos of every allowed kind come out upright RGBX; everything else is refused with a reason, and nothing crashes."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from edgedet_runtime.errors import PhotoRefused, PhotoTooLarge, PhotoTypeUnsupported, PhotoUndecodable
from edgedet_runtime.photo import decode_photo, read_header
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width: int = 60, height: int = 40) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 // width, rows * 255 // height
    return Image.fromarray(np.stack([red, green, (red + green) // 2], axis=2).astype(np.uint8))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


SAMPLE = encoded(picture(), quality=90)
SAMPLE_75 = encoded(picture())
SAMPLE_PNG = encoded(picture(), "PNG")


def test_a_jpeg_has_the_pixels_that_pillow_decodes():
    pixels = decode_photo(SAMPLE).pixels
    assert np.array_equal(pixels[:, :, :3], np.asarray(Image.open(io.BytesIO(SAMPLE)).convert("RGB")))
    assert (pixels[:, :, 3] == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied_once(orientation: int, kind: str):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(picture(), kind, quality=90, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    photo = decode_photo(data)
    assert np.array_equal(photo.pixels[:, :, :3], np.asarray(upright))
    assert (photo.width, photo.height) == upright.size == read_header(data).upright_size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_behind_other_segments_counts(orientation: int):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(picture(), quality=90, exif=exif)
    behind = data[:2] + b"\xff\xed" + struct.pack(">H", 5002) + bytes(5000) + data[2:]
    assert np.array_equal(decode_photo(behind).pixels, decode_photo(data).pixels)


@pytest.mark.parametrize("behind", [b"", b"\xff\xda" * 101], ids=["before the image", "and scans behind it"])
def test_a_jpeg_of_very_many_segments_is_refused(behind: bytes):
    with pytest.raises(PhotoUndecodable, match="the JPEG has more than 20000 segments"):
        read_header(SAMPLE[:2] + b"\xff\xe5\0\2" * 30_000 + SAMPLE[2:] + behind)


def test_a_png_of_very_many_chunks_is_refused():
    end = SAMPLE_PNG.index(b"IDAT") - 4
    chunks = png_chunk(b"teXt", b"") * 30_000 + png_chunk(b"eXIf", b"")
    with pytest.raises(PhotoUndecodable, match="the PNG has more than 20000 chunks"):
        read_header(SAMPLE_PNG[:end] + chunks + SAMPLE_PNG[end:])


def test_a_broken_exif_block_leaves_the_pixels_as_they_are():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = bytearray(encoded(picture(), quality=90, exif=exif))
    start = data.index(b"Exif\0") + 6
    data[start : start + 16] = b"\xff" * 16
    assert decode_photo(bytes(data)).width == 60


@pytest.mark.parametrize("content", [b"", b"MM", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff", bytes(40)])
def test_a_broken_exif_chunk_leaves_the_pixels_as_they_are(content: bytes):
    end = SAMPLE_PNG.index(b"IDAT") - 4
    assert decode_photo(SAMPLE_PNG[:end] + png_chunk(b"eXIf", content) + SAMPLE_PNG[end:]).width == 60


@pytest.mark.parametrize("extra", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"quality": 5}])
def test_jpegs_of_every_coding_are_taken(extra: dict[str, object]):
    data = encoded(picture(), **extra)
    assert np.array_equal(decode_photo(data).pixels[:, :, :3], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_gray_photo_becomes_rgb(kind: str):
    pixels = decode_photo(encoded(picture().convert("L"), kind)).pixels
    assert (pixels[:, :, 0] == pixels[:, :, 1]).all()
    assert (pixels[:, :, 1] == pixels[:, :, 2]).all()
    assert (pixels[:, :, 3] == 255).all()


def test_a_cmyk_jpeg_becomes_rgb():
    data = encoded(picture().convert("CMYK"), quality=95)
    difference = decode_photo(data).pixels[:, :, :3].astype(int) - np.asarray(picture()).astype(int)
    assert np.abs(difference).mean() < 6


def test_a_cmyk_jpeg_with_black_is_what_opencv_makes_of_it():
    inks = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    data = encoded(Image.fromarray(inks, "CMYK"), quality=95)
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decode_photo(data).pixels[:, :, :3], wanted)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_a_png_of_every_mode_has_the_colors_that_pillow_sees_and_no_alpha(mode: str):
    image = picture().convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.new("L", image.size, 40))
    pixels = decode_photo(encoded(image, "PNG")).pixels
    assert np.array_equal(pixels[:, :, :3], np.asarray(image.convert("RGB")))
    assert (pixels[:, :, 3] == 255).all()


def test_16_bit_samples_keep_their_upper_8_bits():
    samples = np.linspace(0, 65535, 60 * 40).astype(np.uint16).reshape(40, 60)
    pixels = decode_photo(encoded(Image.fromarray(samples), "PNG")).pixels
    assert np.array_equal(pixels[:, :, 0], (samples >> 8).astype(np.uint8))


def test_bytes_behind_a_jpeg_or_a_png_do_no_harm():
    for data in (SAMPLE, SAMPLE_PNG):
        assert np.array_equal(decode_photo(data + b"junk" * 100).pixels, decode_photo(data).pixels)


def test_a_very_wide_photo_is_taken():
    photo = decode_photo(encoded(picture(60_000, 3)))
    assert (photo.width, photo.height) == (60_000, 3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("data", [SAMPLE, SAMPLE_PNG], ids=["jpeg", "png"])
def test_a_truncated_photo_is_refused(data: bytes, share: float):
    with pytest.raises(PhotoUndecodable):
        decode_photo(data[: int(len(data) * share)])


def test_a_truncated_cmyk_jpeg_is_refused():
    data = encoded(picture().convert("CMYK"))
    with pytest.raises(PhotoUndecodable):
        decode_photo(data[: len(data) // 2])


def test_a_png_whose_middle_is_missing_is_refused():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    data = encoded(noise, "PNG")
    with pytest.raises(PhotoUndecodable):
        decode_photo(data[: len(data) // 2] + png_chunk(b"IEND", b""))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_with_a_damaged_middle_is_refused(sample_photos: list[Path], mode: str):
    data = bytearray(encoded(Image.open(sample_photos[0]).convert(mode)))
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    with pytest.raises(PhotoUndecodable):
        decode_photo(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_photo_without_pixels_is_refused(data: bytes):
    with pytest.raises(PhotoUndecodable):
        decode_photo(data)


@pytest.mark.parametrize(
    "data", [b"hello", b"GIF89a" + bytes(20), encoded(picture(), "WEBP"), encoded(picture(), "BMP")]
)
def test_other_formats_are_refused_by_their_first_bytes(data: bytes):
    with pytest.raises(PhotoTypeUnsupported):
        decode_photo(data)


def test_a_png_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    with pytest.raises(PhotoTooLarge, match=r"30000×30000 = 900\.0 megapixels; the limit is 40"):
        decode_photo(bomb)


def test_a_jpeg_that_announces_billions_of_pixels_is_refused_by_its_header():
    data = bytearray(SAMPLE)
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    with pytest.raises(PhotoTooLarge):
        decode_photo(bytes(data))


def test_a_jpeg_of_very_many_scans_is_refused_by_its_header():
    data = encoded(picture(), progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(PhotoUndecodable, match="the JPEG has 110 scans; at most 100"):
        read_header(data[:-2] + last_scan * 100 + data[-2:])


def test_scans_in_a_segment_or_behind_the_image_do_not_count():
    data = encoded(picture(), comment=b"\xff\xda" * 1000) + b"\xff\xda" * 1000
    assert np.array_equal(decode_photo(data).pixels, decode_photo(SAMPLE_75).pixels)


def test_the_pixel_limit_is_a_choice():
    decode_photo(SAMPLE, max_megapixels=0.0024)
    with pytest.raises(PhotoTooLarge):
        decode_photo(SAMPLE, max_megapixels=0.0023)


@settings(max_examples=300)
@given(
    data=st.sampled_from([SAMPLE, SAMPLE_PNG]),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
    end=st.integers(0, 20_000),
)
def test_damaged_bytes_give_a_photo_or_a_refusal(data: bytes, edits: list[tuple[int, bytes]], end: int):
    damaged = bytearray(data)
    for position, content in edits:
        at = position % len(damaged)
        damaged[at : at + len(content)] = content
    try:
        photo = decode_photo(bytes(damaged[:end]), max_megapixels=1)
    except PhotoRefused:
        return
    assert photo.pixels.shape == (photo.height, photo.width, 4)

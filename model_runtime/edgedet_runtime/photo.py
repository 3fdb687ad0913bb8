"""Photos: JPEG and PNG bytes to upright RGBA pixels, the header's limits checked before any pixel is decoded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edgedet_runtime.errors import PhotoTooLarge, PhotoTypeUnsupported, PhotoUndecodable

DEFAULT_MAX_MEGAPIXELS = 40.0
_ORIENTATION_TAG = 0x0112
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = b"\xff\xda", b"\xff\xd9", b"\xff\xe1"
_SHORT, _TIFF_ENTRY = 3, 12
# Progressive photos have a dozen. Each goes over all pixels, and takes as few as 14 bytes: a megabyte of them would
# keep a worker for an hour.
_MOST_SCANS = 100
# Segments of a JPEG, or chunks of a PNG, that are walked over: profiles and thumbnails take hundreds, a PNG of 20 MB
# has some 2,500. A photo of millions of empty ones would keep the event loop for many seconds.
_MOST_PARTS = 20_000
# Markers that open a segment or end the image; not stuffed bytes, fill bytes, or the restarts inside a scan.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")

# The decoders run inside worker threads that already fill the cores.
cv2.setNumThreads(0)


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """What the first bytes of a photo say, the size still in the sensor's frame."""

    format: Literal["jpeg", "png"]
    width: int
    height: int
    orientation: int
    jpeg_colorspace: str = ""

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation is applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


@dataclass(frozen=True, slots=True)
class Photo:
    """Pixels uint8 [height, width, 4], RGBX in the upright frame; X is 255 everywhere."""

    pixels: NDArray[np.uint8]

    @property
    def width(self) -> int:
        """Columns of the upright photo."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of the upright photo."""
        return int(self.pixels.shape[0])


def photo_format(data: bytes) -> Literal["jpeg", "png"] | None:
    """The format that the first bytes promise, or None."""
    if data.startswith(_JPEG_MAGIC):
        return "jpeg"
    return "png" if data.startswith(_PNG_MAGIC) else None


def read_header(data: bytes, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> PhotoHeader:
    """Read size and orientation and check the pixel limit; no pixel is decoded.

    Raises:
        PhotoUndecodable: empty, a header that cannot be read, or one of very many scans, segments or chunks.
        PhotoTypeUnsupported: neither JPEG nor PNG.
        PhotoTooLarge: more than `max_megapixels`.
    """
    if not data:
        raise PhotoUndecodable("the photo is empty (0 bytes)")
    kind = photo_format(data)
    if kind is None:
        raise PhotoTypeUnsupported("the photo is neither JPEG nor PNG (judged by its first bytes)")
    header = _jpeg_header(data) if kind == "jpeg" else _png_header(data)
    megapixels = header.width * header.height / 1e6
    if megapixels > max_megapixels:
        raise PhotoTooLarge(
            f"the photo has {header.width}×{header.height} = {megapixels:.1f} megapixels; "
            f"the limit is {max_megapixels:g}"
        )
    return header


def decode_photo(
    data: bytes, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, header: PhotoHeader | None = None
) -> Photo:
    """Decode a JPEG or PNG into upright RGBX pixels; with its `header` where that was read before.

    Alpha is dropped, gray and CMYK become RGB, 16-bit samples keep their upper 8 bits.

    Raises:
        PhotoRefused: one of its kinds, see `read_header`; truncated or damaged data is refused, not filled in.
    """
    header = header or read_header(data, max_megapixels)
    pixels = _decode_jpeg(data, header) if header.format == "jpeg" else _decode_png(data)
    if pixels.shape[:2] != (header.height, header.width):
        raise PhotoUndecodable("the photo's pixels do not have the size that its header says")
    return Photo(_upright(pixels, header.orientation))


def _jpeg_header(data: bytes) -> PhotoHeader:
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise PhotoUndecodable(f"the JPEG's header cannot be read: {error}") from error
    # Counted exactly only where it could be too many: the bytes may stand in thumbnails, or behind the image.
    if data.count(_START_OF_SCAN) > _MOST_SCANS and (scans := _scan_count(data)) > _MOST_SCANS:
        raise PhotoUndecodable(f"the JPEG has {scans} scans; at most {_MOST_SCANS} are decoded")
    return PhotoHeader("jpeg", width, height, _orientation(_jpeg_exif(data)), colorspace)


def _segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Marker, start and end of each segment's content, up to the end marker; what it holds is passed over."""
    position = len(_START_OF_SCAN)
    for _ in range(_MOST_PARTS):
        marker = _MARKER.search(data, position)
        if marker is None or marker[0] == _END_OF_IMAGE:
            return
        start = marker.end()
        position = start + int.from_bytes(data[start : start + 2], "big")
        yield marker[0], start + 2, position
    raise PhotoUndecodable(f"the JPEG has more than {_MOST_PARTS} segments")


def _scan_count(data: bytes) -> int:
    """Scans before the end marker."""
    return sum(marker == _START_OF_SCAN for marker, _, _ in _segments(data))


def _png_header(data: bytes) -> PhotoHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PhotoUndecodable("the PNG's header cannot be read")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not width or not height:
        raise PhotoUndecodable("the PNG has no pixels")
    return PhotoHeader("png", width, height, _orientation(_png_chunk(data, b"eXIf") or b""))


def _jpeg_exif(data: bytes) -> bytes:
    """The TIFF structure in the first EXIF segment before the image; empty where there is none."""
    for marker, start, end in _segments(data):
        if marker == _START_OF_SCAN:
            break
        if marker == _APP1 and data.startswith(b"Exif\0", start):
            return data[start + 6 : end]
    return b""


def _orientation(tiff: bytes) -> int:
    """1…8 out of the first directory of a TIFF structure; 1 where it says none or is broken: the pixels are not.

    Read here: Pillow parses all of EXIF for it, which takes longer than the rest of the header, and seconds where a
    photo is made for that.
    """
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II*\0") else "big"
    if order == "big" and not tiff.startswith(b"MM\0*"):
        return 1

    def number(place: int, size: int) -> int:
        return int.from_bytes(tiff[place : place + size], order)

    first = number(4, 4) + 2
    last = min(first + _TIFF_ENTRY * number(first - 2, 2), len(tiff)) - _TIFF_ENTRY
    for place in range(first, last + 1, _TIFF_ENTRY):
        if (number(place, 2), number(place + 2, 2)) == (_ORIENTATION_TAG, _SHORT):
            found = number(place + 8, 2)
            return found if 1 <= found <= 8 else 1
    return 1


def _decode_jpeg(data: bytes, header: PhotoHeader) -> NDArray[np.uint8]:
    inks = header.jpeg_colorspace in ("CMYK", "YCCK")
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGBA", strict=True)
    except ValueError as error:
        raise PhotoUndecodable(f"the JPEG is truncated or damaged: {error}") from error
    return _without_inks(pixels) if inks else pixels


def _without_inks(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """CMYK as JPEGs store it (255: no ink) to RGBX, in place: an ink takes away its share of what black leaves."""
    black = pixels[:, :, 3].astype(np.uint16)
    for channel in range(3):
        pixels[:, :, channel] = black - ((255 - pixels[:, :, channel]) * black >> 8)
    pixels[:, :, 3] = 255
    return pixels


def _decode_png(data: bytes) -> NDArray[np.uint8]:
    # OpenCV fills in what a truncated PNG lacks; the end chunk tells.
    if _png_chunk(data, b"IEND") is None:
        raise PhotoUndecodable("the PNG is truncated: it has no end chunk")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PhotoUndecodable(f"the PNG cannot be decoded: {error.err}") from error
    if rgb is None:
        raise PhotoUndecodable("the PNG is truncated or damaged, or keeps megabytes beside its pixels")
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)


def _png_chunk(data: bytes, kind: bytes) -> bytes | None:
    """The first chunk of a kind: length in four bytes, kind in four, content, checksum in four."""
    if kind not in data:
        return None
    position = len(_PNG_MAGIC)
    for _ in range(_MOST_PARTS):
        if position + 12 > len(data):
            return None
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == kind:
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    raise PhotoUndecodable(f"the PNG has more than {_MOST_PARTS} chunks")


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (1…8)."""
    if orientation == 1:
        return pixels
    turned = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)

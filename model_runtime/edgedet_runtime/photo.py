"""Photos: JPEG and PNG bytes to upright RGBA pixels, the header's limits checked before any pixel is decoded."""

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgedet_runtime.errors import PhotoTooLarge, PhotoTypeUnsupported, PhotoUndecodable

DEFAULT_MAX_MEGAPIXELS = 40.0
_ORIENTATION_TAG = 0x0112
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# Progressive photos have a dozen. Each goes over all pixels, and takes as few as 14 bytes: a megabyte of them would
# keep a worker for an hour.
_MOST_SCANS = 100
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
        PhotoUndecodable: empty, a header that cannot be read, or a JPEG of very many scans.
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
    # Parsing EXIF costs more than the rest of the header, and most photos of cameras in place have none.
    orientation = _orientation(data, _jpeg_exif) if b"Exif\0" in data[:4096] else 1
    return PhotoHeader("jpeg", width, height, orientation, colorspace)


def _scan_count(data: bytes) -> int:
    """Scans before the end marker; a segment is passed over whole, whatever it holds."""
    scans, position = 0, len(_START_OF_SCAN)
    while (marker := _MARKER.search(data, position)) and marker[0] != _END_OF_IMAGE:
        scans += marker[0] == _START_OF_SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _png_header(data: bytes) -> PhotoHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PhotoUndecodable("the PNG's header cannot be read")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not width or not height:
        raise PhotoUndecodable("the PNG has no pixels")
    return PhotoHeader("png", width, height, _orientation(data, _png_exif) if b"eXIf" in data else 1)


def _jpeg_exif(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return image.getexif()


def _png_exif(data: bytes) -> Image.Exif:
    """Read from its chunk alone: Pillow would decode the pixels on its way there."""
    exif = Image.Exif()
    exif.load(_png_chunk(data, b"eXIf") or b"")
    return exif


def _orientation(data: bytes, read: Callable[[bytes], Image.Exif]) -> int:
    try:
        orientation = read(data).get(_ORIENTATION_TAG, 1)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, struct.error):
        return 1  # A broken EXIF block does not make the pixels wrong.
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _decode_jpeg(data: bytes, header: PhotoHeader) -> NDArray[np.uint8]:
    if header.jpeg_colorspace in ("CMYK", "YCCK"):
        return _decode_by_opencv(data)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGBA", strict=True)
    except ValueError as error:
        raise PhotoUndecodable(f"the JPEG is truncated or damaged: {error}") from error
    return pixels


def _decode_png(data: bytes) -> NDArray[np.uint8]:
    # OpenCV fills in what a truncated PNG lacks; the end chunk tells.
    if _png_chunk(data, b"IEND") is None:
        raise PhotoUndecodable("the PNG is truncated: it has no end chunk")
    return _decode_by_opencv(data)


def _png_chunk(data: bytes, kind: bytes) -> bytes | None:
    """The first chunk of a kind: length in four bytes, kind in four, content, checksum in four."""
    position = len(_PNG_MAGIC)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == kind:
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    return None


def _decode_by_opencv(data: bytes) -> NDArray[np.uint8]:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PhotoUndecodable(f"the photo cannot be decoded: {error.err}") from error
    if rgb is None:
        raise PhotoUndecodable("the photo is truncated or damaged")
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)


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

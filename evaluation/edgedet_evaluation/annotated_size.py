"""Refuses a photo that is not the one that was annotated: its boxes would silently lie somewhere else.

Boxes are in pixels of the upright photo, as it is decoded and as it is shown. Photos that were shrunk after they were
annotated, or annotated as the sensor saw them, tell on themselves by the size that stands in their annotation.
"""

from pathlib import Path

from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.photo import read_header

from edgedet_evaluation.errors import DataUnreadable


def check_size(file: Path, content: bytes, width: object, height: object) -> tuple[int, int] | None:
    """Compare a photo's bytes with the size that its annotation tells; one without a size, or of 0, is not asked.

    Returns the photo's own width and height, upright; None where it cannot be read, which whoever decodes it will name.

    Raises:
        DataUnreadable: the photo has another size, or is annotated on its side.
    """
    try:
        header = read_header(content, max_megapixels=float("inf"))
    except PhotoRefused:
        return None
    told = isinstance(width, int | float) and isinstance(height, int | float) and width > 0 and height > 0
    if not told or (width, height) == header.upright_size:
        return header.upright_size
    if (width, height) == (header.width, header.height):
        raise DataUnreadable(f"{file} is turned by its EXIF data and annotated unturned: save it upright without them")
    found = " × ".join(map(str, header.upright_size))
    raise DataUnreadable(
        f"{file} has {found} pixels, its annotation says {width:g} × {height:g}: give the photos that were annotated"
    )

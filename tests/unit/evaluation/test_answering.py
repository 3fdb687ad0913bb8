"""Photos of a data set: decoded one by one, and named where they cannot be."""

from pathlib import Path

import pytest
from edgedet_evaluation.answering import read_photos
from edgedet_evaluation.errors import DataUnreadable


def test_a_photo_that_cannot_be_decoded_is_named_when_its_turn_comes(sample_photos: list[Path], tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no photo")
    photos = iter(read_photos([sample_photos[0], broken]))
    assert next(photos).pixels.shape[2] == 4
    with pytest.raises(DataUnreadable, match=r"broken\.jpg: .*; replace it or take it away"):
        next(photos)

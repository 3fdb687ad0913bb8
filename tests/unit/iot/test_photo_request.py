import pytest
from edgedet_iot.photo_request import annotate_request, classify_request, detect_request

JPEG = b"\xff\xd8\xff rest"
REQUESTS = pytest.mark.parametrize("request_of", [detect_request, annotate_request, classify_request])


@REQUESTS
def test_a_photo_is_bytes_or_a_path_as_str_or_path(request_of, tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(JPEG)
    assert [request_of(photo, {}).content for photo in (JPEG, file, str(file))] == [JPEG] * 3


@REQUESTS
@pytest.mark.parametrize("photo", [None, 7, [JPEG], bytearray(JPEG)])
def test_anything_else_is_refused_with_what_is_accepted(request_of, photo):
    kind = type(photo).__name__
    with pytest.raises(TypeError, match=f"bytes, or the path of its file as str or Path, not {kind}"):
        request_of(photo, {})

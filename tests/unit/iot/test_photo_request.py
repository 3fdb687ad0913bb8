from fractions import Fraction

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


@REQUESTS
def test_options_that_are_none_are_left_to_the_edge(request_of):
    query = request_of(JPEG, {"model": None, "boundary": 0}).query
    assert {name: query[name] for name in query if name != "format"} == {"boundary": 0}


@REQUESTS
def test_an_option_of_another_type_is_refused_and_not_left_out(request_of):
    with pytest.raises(TypeError, match="score_threshold is a str, int or float, not Fraction"):
        request_of(JPEG, {"score_threshold": Fraction(1, 3)})

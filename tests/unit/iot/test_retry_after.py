from datetime import UTC, datetime, timedelta

import httpx
import pytest
from edgedet_iot.exchange import retry_after_s

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


def headers(value: str) -> httpx.Headers:
    return httpx.Headers([(b"Retry-After", value.encode("latin-1"))])


def test_seconds_are_read():
    assert retry_after_s(headers("7"), NOW) == 7
    assert retry_after_s(headers(" 0 "), NOW) == 0


def test_a_date_is_read_as_the_time_until_then():
    assert retry_after_s(headers("Wed, 25 Nov 2026 12:00:30 GMT"), NOW) == 30


def test_a_date_in_the_past_means_at_once():
    assert retry_after_s(headers("Wed, 25 Nov 2026 11:00:00 GMT"), NOW + timedelta(seconds=1)) == 0


@pytest.mark.parametrize("value", ["", "-1", "1.5", "soon", "inf", "²", "Mon, 01 Jan 2024 00:00:00 +99999999999999999"])
def test_anything_else_is_nothing(value):
    assert retry_after_s(headers(value), NOW) is None


def test_no_header_is_nothing():
    assert retry_after_s(httpx.Headers(), NOW) is None

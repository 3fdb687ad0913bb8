import pytest
from edgedet_iot.edge_pool import FIRST_REST_S, LONGEST_REST_S, EdgePool

URLS = [
    "a:1", "ftp://a", "http://", "http://a:port", "http://a:70000", "http://a/?x=1", "", "http://[::1", "http://a:1\n",
    "http://a..b:1", f"http://{'a' * 64}:1", "http://xn--:1",
]  # fmt: skip
A, B, C = "http://a:1", "http://b:1", "http://c:1"


def test_living_edges_keep_the_given_order():
    assert EdgePool([B, A, C]).take_order(0.0) == (B, A, C)


def test_a_failed_edge_is_asked_last_while_it_rests():
    pool = EdgePool([A, B])
    pool.failed(A, 9.0, 10.0)
    assert pool.take_order(10.0) == (B, A)
    assert pool.take_order(10.0 + FIRST_REST_S - 0.01) == (B, A)


def test_after_a_rest_one_request_alone_tries_the_edge():
    pool = EdgePool([A, B])
    pool.failed(A, 0.0, 0.0)
    assert pool.take_order(FIRST_REST_S) == (A, B)
    assert pool.take_order(FIRST_REST_S) == (B, A)


def test_an_answer_brings_everybody_back():
    pool = EdgePool([A, B])
    pool.failed(A, 0.0, 0.0)
    pool.answered(A, 0.0)
    assert pool.take_order(0.0) == pool.take_order(0.0) == (A, B)


def test_rests_double_up_to_a_limit_while_the_edge_keeps_failing():
    pool = EdgePool([A, B])
    pool.failed(A, 0.0, 0.0)
    now, length = 0.0, FIRST_REST_S
    for _ in range(10):
        now += length
        assert pool.take_order(now) == (A, B)
        pool.failed(A, now, now)
        length = min(2 * length, LONGEST_REST_S)
        assert pool.take_order(now + length - 0.01) == (B, A)
    assert length == LONGEST_REST_S


def test_requests_that_were_under_way_do_not_lengthen_the_rest():
    pool = EdgePool([A, B])
    for late in (0.0, 0.1, 0.2, 0.3):
        pool.failed(A, -1.0, late)
    assert pool.take_order(FIRST_REST_S) == (A, B)


def test_what_was_sent_before_a_rest_is_not_held_against_the_request_that_tries_again():
    pool = EdgePool([A, B])
    pool.failed(A, 0.0, 0.0)
    assert pool.take_order(1.0) == (A, B)
    pool.failed(A, -5.0, 1.1)
    assert pool.take_order(2.0) == (A, B), "the rest was 1 s as before"
    pool.answered(A, 2.1)
    pool.failed(A, -4.0, 2.2)
    assert pool.take_order(2.2) == (A, B)


def test_a_silent_edge_is_tried_ever_less_often():
    pool = EdgePool([A, B])
    pool.failed(A, 0.0, 0.0)
    tried = [now / 10 for now in range(100) if pool.take_order(now / 10) == (A, B)]
    assert tried == [1.0, 2.0, 4.0, 8.0]
    pool.failed(A, 1.0, 10.0)
    for sent in tried[1:]:
        pool.failed(A, sent, 10.0 + sent)
    assert pool.take_order(25.9) == (B, A)
    assert pool.take_order(26.0) == (A, B)


def test_when_all_rest_the_one_that_is_back_soonest_is_first():
    pool = EdgePool([A, B, C])
    for edge, at in ((C, 0.0), (A, 0.2), (B, 0.1)):
        pool.failed(edge, at, at)
    assert pool.take_order(0.5) == (C, B, A)


def test_an_edge_given_twice_is_one_edge():
    assert EdgePool([A, B, A + "/"]).edges == (A, B)


@pytest.mark.parametrize("url", URLS)
def test_what_is_no_url_of_an_edge_is_refused(url):
    with pytest.raises(ValueError, match="is not the URL of an edge"):
        EdgePool([url])


def test_no_edge_at_all_is_refused():
    with pytest.raises(ValueError, match="no edge"):
        EdgePool([])

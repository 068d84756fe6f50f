# SPDX-License-Identifier: Apache-2.0
"""Reading HTTP/1 requests from bytes in pieces of any size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.http1 import MAX_HEAD, Reader

GET = b"GET /a%20b?c=%20d HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab\r\nc"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\na;b\r\n4\r\n\r\n\r\n\r\n0\r\nX-Trailer: x\r\n\r\n"
)
LAST = b"GET http://b:80?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
ALL = GET + POST + b"\r\n" + CHUNKED + LAST
BODIES = [b"", b"ab\r\nc", b"a;b\r\n\r\n", b""]


def read(pieces, max_body=1000):
    reader = Reader(max_body, forwarding=False)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while message := reader.next():
            found.append(message)
    return found, reader


@settings(deadline=None)
@given(st.lists(st.integers(0, len(ALL)), max_size=20))
def test_splitting_the_input_makes_no_difference(cuts):
    edges = [0, *sorted(cuts), len(ALL)]
    found, reader = read([ALL[a:b] for a, b in zip(edges, edges[1:], strict=False)])
    assert [message.body for message in found] == BODIES
    assert [message.path for message in found] == ["/a b", "/", "/", "/"]
    assert found[0].query == "c=%20d"
    assert found[0].fields == {"HTTP_HOST": "a", "HTTP_X_ONE": "1, 2"}
    assert "HTTP_X_TRAILER" not in found[2].fields
    assert (found[3].version, found[3].fields["HTTP_HOST"], found[3].query) == ("1.0", "b:80", "x")
    assert [message.keep_alive for message in found] == [True] * 4
    assert not reader.partial


def test_request_begins_with_its_first_byte():
    reader = Reader(10, forwarding=False)
    assert not reader.partial
    reader.feed(b"G")
    assert reader.next() is None and reader.partial and not reader.in_body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST.replace(b"5", b"11"), 413),
        (CHUNKED.replace(b"3\r\n", b"b\r\nelevenbytes\r\n3\r\n"), 413),
        (b"G" * (MAX_HEAD + 1), 431),
        (GET[:-2] + b"X: " + b"x" * MAX_HEAD, 431),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (POST.replace(b"Content-Length: 5", b"Transfer-Encoding: gzip, chunked"), 501),
        (POST.replace(b"\r\n\r\n", b"\r\nExpect: x\r\n\r\n"), 417),
    ],
)
def test_exceeded_limits_and_unsupported_features(data, status):
    with pytest.raises(RequestRefused) as caught:
        read([data], max_body=10)
    assert caught.value.status == status


def test_single_paths_may_have_larger_bodies():
    reader = Reader(10, forwarding=False, max_bodies={"/large": 11})
    large = POST.replace(b"/ ", b"/large?x ").replace(b"5", b"11") + b"elevenb"
    reader.feed(large)
    assert len(reader.next().body) == 11
    reader.feed(POST.replace(b"5", b"11"))
    with pytest.raises(RequestRefused):
        reader.next()


def test_chunked_body_with_too_much_overhead_is_refused():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(RequestRefused) as caught:
        read([head, b"000000001\r\nx\r\n" * 6000], max_body=6001)
    assert caught.value.status == 413

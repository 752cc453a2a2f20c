"""Which clients are answered with gzip, and how."""

import gzip

import pytest

from tscert_trio.http_server import Response
from tscert_trio.status.encoding import accepts_gzip, compressed


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),  # browsers
        ("GZIP;q=1.0", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("gzippy", False),
        (",;,=", False),
    ],
)
def test_gzip_is_for_those_who_take_it(header, expected):
    assert accepts_gzip(header) is expected


def test_what_is_long_is_told_as_gzip_and_caches_are_told_on_what_that_depends():
    plain = Response(status=404, body=b"x" * 5000, headers=[("Content-Type", "text/plain")])
    answer = compressed(plain)
    assert answer.status == 404
    assert answer.headers == [*plain.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    assert len(answer.body) < 100
    assert gzip.decompress(answer.body) == plain.body
    assert compressed(plain).body == answer.body


def test_what_fits_into_a_packet_stays_as_it_is():
    plain = Response(body=b"alive\n")
    assert compressed(plain) is plain

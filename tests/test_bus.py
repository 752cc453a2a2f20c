"""What is seen of the IPN bus, wherever its stream is cut."""

import itertools
import json
import re

from hypothesis import given, strategies as st

from tscert_trio.localapi.bus import FieldScanner

FIELDS = ("State", "SelfChange", "NetMap", "ErrMessage")


def scan(*pieces):
    scanner = FieldScanner()
    return [set(scanner.feed(piece)) for piece in pieces]


def test_non_null_fields_are_seen_and_null_ones_are_not():
    message = b'{"State":6,"SelfChange":{"ID":1},"NetMap":null,"ErrMessage":null,"Prefs":{"A":1}}\n'
    assert scan(message) == [{"State", "SelfChange"}]


def test_a_string_cannot_pretend_to_be_a_field():
    """Go escapes the quotes within it."""
    assert scan(json.dumps({"Health": '"NetMap":{'}, separators=(",", ":")).encode()) == [set()]


def test_a_field_is_told_once_though_pieces_overlap():
    assert scan(b'{"State":6,', b'"A":1}', b"\n") == [{"State"}, set(), set()]


VALUES = st.none() | st.integers(0, 9) | st.text(max_size=8) | st.dictionaries(st.text(max_size=3), st.none())
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from([*FIELDS, "Health", "x" * 40]), VALUES, max_size=4), max_size=4
)


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=12))
def test_cuts_change_nothing(messages, cuts):
    """The fields found over all pieces are those found in the whole, and the tail kept stays small."""
    whole = "\n".join(json.dumps(message, separators=(",", ":")) for message in messages).encode()
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    scanner = FieldScanner()
    found = []
    for start, end in itertools.pairwise(bounds):
        found += scanner.feed(whole[start:end])
        assert len(scanner._tail) < 20
    pattern = rb'"(' + "|".join(FIELDS).encode() + rb')":[{"0-9]'
    assert sorted(set(found)) == sorted({name.decode() for name in re.findall(pattern, whole)})

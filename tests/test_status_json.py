"""The JSON of ``/api/v1``: its schema, and that nothing is lost on the way."""

import json
from datetime import timedelta

import attrs
import jsonschema
import make_schema
import pytest
from hypothesis import given, strategies as st
from statuses import DAY, HOUR, LIFE, NOW, A, B, cert, delivery, domain, statistics

from tscert_trio import (
    ControlError,
    DeliveryState,
    DomainState,
    LimitStatistics,
    NotACertDomainError,
    RateLimitedError,
    RenewalWindow,
    UnreachableError,
)
from tscert_trio.schedule import Mode
from tscert_trio.status.history import DomainDetail, Event, EventList, PastCertificate
from tscert_trio.status.making import make_report
from tscert_trio.status.report import Level, Source, StatusReport
from tscert_trio.status.wire import from_json, to_json, to_plain

SCHEMA = json.loads(make_schema.PATH.read_text())
ERRORS = (
    None,
    ControlError("SetDNS: é \N{ROCKET}"),
    NotACertDomainError("invalid domain"),
    RateLimitedError("429", retry_after=3 * HOUR),
    UnreachableError("no such socket"),
)

moments = st.datetimes(NOW.replace(year=1971, tzinfo=None), timezones=st.just(NOW.tzinfo))
texts = st.text(st.characters(codec="utf-8"))
errors = st.sampled_from(ERRORS)
windows = st.builds(RenewalWindow, start=moments, end=moments, explanation_url=st.none() | texts)
leaves = st.builds(cert, left=st.timedeltas(-LIFE, 2 * LIFE), life=st.timedeltas(HOUR, LIFE))
deliveries = st.builds(
    delivery,
    target=texts,
    state=st.sampled_from(DeliveryState),
    error=st.none() | texts,
    output=st.none() | texts,
    served=st.sampled_from([None, "new", "old", "other", "none"]),
    warnings=st.lists(texts).map(tuple),
    good_until=st.none() | moments,
    next_attempt_at=st.none() | moments,
)
domains = st.builds(
    domain,
    st.sampled_from([A, B]),
    st.sampled_from(DomainState),
    leaf=st.none() | leaves,
    window=st.none() | windows,
    error=errors,
    limit=st.none() | texts,
    limited_until=st.none() | moments,
    next_attempt_at=st.none() | moments,
    mode=st.sampled_from(Mode),
)
limits = st.builds(
    LimitStatistics, name=texts, scope=texts, used=st.integers(0), capacity=st.integers(0),
    is_exceeded=st.booleans(), until=st.none() | moments,
)  # fmt: skip
snapshots = st.builds(
    lambda domains, **fields: statistics(*domains, **fields),
    st.lists(domains, max_size=3),
    deliveries=st.lists(deliveries, max_size=3).map(tuple),
    limits=st.lists(limits, max_size=2).map(tuple),
    cert_domains=st.none() | st.frozensets(texts),
    trouble=errors,
    is_told=st.booleans(),
    capability=st.none() | st.integers(),
)


def check(value, name):
    """Check JSON against what the schema says of it, and against the schema as a whole."""
    plain = json.loads(value)
    validator = jsonschema.Draft202012Validator
    validator(SCHEMA | {"anyOf": [{"$ref": f"#/$defs/{name}"}]}).validate(plain)
    validator(SCHEMA).validate(plain)
    return plain


def to_milliseconds(value):
    """Return the same with its times cut to milliseconds."""
    if attrs.has(type(value)):
        fields = attrs.asdict(value, recurse=False)
        return attrs.evolve(value, **{name: to_milliseconds(field) for name, field in fields.items()})
    if isinstance(value, tuple):
        return tuple(map(to_milliseconds, value))
    return (
        value.replace(microsecond=value.microsecond // 1000 * 1000) if isinstance(value, type(NOW)) else value
    )


def test_the_schema_is_one_and_says_what_the_classes_say():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert make_schema.PATH.read_text() == make_schema.text_of_schema(), "run python tests/make_schema.py"


def test_every_class_and_every_field_is_described():
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        for field, schema in definition.get("properties", {}).items():
            assert schema["description"].endswith("."), (name, field)
            assert "`" not in schema["description"], (name, field)


def test_new_fields_may_come_anywhere():
    assert '"additionalProperties": false' not in make_schema.text_of_schema()


@given(snapshots, st.sampled_from(Source), st.booleans())
def test_a_report_of_whatever_there_is_keeps_to_the_schema_and_comes_back(snapshot, source, with_output):
    made = make_report(snapshot, NOW + timedelta(microseconds=987654), source=source, with_output=with_output)
    check(to_json(made), "StatusReport")
    assert from_json(to_json(made), StatusReport) == to_milliseconds(made)


events = st.builds(
    Event, id=texts, at=moments, domain=texts, kind=st.sampled_from(["attempt", "delivery"]), what=texts,
    outcome=texts, level=st.sampled_from(Level), text=st.none() | texts,
    seconds=st.none() | st.floats(0, 1e6), fingerprint=st.none() | texts,
)  # fmt: skip


@given(st.lists(events, max_size=3).map(tuple))
def test_events_keep_to_the_schema_and_come_back(found):
    listed = EventList(events=found)
    check(to_json(listed), "EventList")
    assert from_json(to_json(listed), EventList) == to_milliseconds(listed)


def test_a_domain_with_its_history_keeps_to_the_schema_and_comes_back():
    leaf = cert()
    made = make_report(statistics(domain(leaf=leaf), deliveries=(delivery(),)), NOW)
    past = PastCertificate(
        fingerprint=leaf.fingerprint,
        serial_number="0ABC",
        issuer="CN=CA",
        not_before=NOW - DAY,
        not_after=NOW,
    )
    detail = DomainDetail(
        program="1", at=NOW, source=Source.SERVICE, domain=made.domains[0], certificates=(past,), events=()
    )
    check(to_json(detail), "DomainDetail")
    assert from_json(to_json(detail), DomainDetail) == detail


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("RenewAnswer", {"version": 1, "asked_at": to_plain(NOW)}),
        ("Error", {"error": "there is no /x", "remedy": "look at /"}),
    ],
)
def test_other_answers_keep_to_the_schema(name, answer):
    check(json.dumps(answer), name)


@pytest.mark.parametrize(
    "answer", [{}, [], {"error": "x"}, {"version": 1}, {"version": 2, "asked_at": to_plain(NOW)}]
)
def test_what_is_no_answer_does_not_keep_to_it(answer):
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(answer)


@pytest.mark.parametrize("field", [each.name for each in attrs.fields(StatusReport)])
def test_no_field_may_be_missing(field):
    plain = to_plain(make_report(statistics(), NOW))
    del plain[field]
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(plain)


def test_fields_of_a_newer_service_are_passed_over():
    made = make_report(statistics(domain(leaf=cert())), NOW)
    plain = to_plain(made)
    plain["new"] = plain["domains"][0]["new"] = plain["domains"][0]["certificate"]["new"] = {"a": [1]}
    text = json.dumps(plain).encode()
    check(text, "StatusReport")
    assert from_json(text, StatusReport) == made


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"{}", b"null", b'{"version": 1}', b"[" * 100_000])
def test_what_is_no_report_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"^is no StatusReport: [^\n]*$"):
        from_json(text, StatusReport)


def test_times_are_in_utc_to_the_millisecond():
    assert to_plain(NOW.replace(microsecond=1999)) == "2026-03-01T12:00:00.001Z"


def test_a_serial_number_is_written_as_openssl_does():
    plain = to_plain(make_report(statistics(domain(leaf=cert())), NOW))
    assert plain["domains"][0]["certificate"]["serial_number"] == "0ABC"

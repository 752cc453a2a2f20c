"""Which names of a serve config need a certificate."""

import json

import pytest
from hypothesis import given, strategies as st

from tscert_trio import DomainFilter, InvalidDomainError, Scope, ServeConfig, ServeConfigError
from tscert_trio.serve_config import check_domain, some_of, split_host_port


def names(config, scope=Scope.SERVICES):
    return ServeConfig.from_json(json.dumps(config)).domains(scope)


def service(*host_ports, **tcp):
    return {"Web": {key: {"Handlers": {}} for key in host_ports}, "TCP": tcp}


# The table of TestEnsureCertLoops in tailscale's kube/certs/certs_test.go, in our words.
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, set()),
        ({"Services": {"svc:a": service("a.ts.net:443")}}, {"a.ts.net"}),
        (
            {"Services": {"svc:a": service("a.ts.net:443"), "svc:b": service("b.ts.net:443")}},
            {"a.ts.net", "b.ts.net"},
        ),
        ({"Services": {"svc:a": service("a.ts.net:443", "a.ts.net:80")}}, {"a.ts.net"}),
        ({"Services": {"svc:a": service(**{"443": {"TerminateTLS": "k.ts.net"}})}}, {"k.ts.net"}),
        (
            {
                "Services": {
                    "svc:a": service("a.ts.net:443"),
                    "svc:k": service(**{"443": {"TCPForward": "localhost:80", "TerminateTLS": "k.ts.net"}}),
                }
            },
            {"a.ts.net", "k.ts.net"},
        ),
    ],
    ids=["empty", "one", "several", "ignores-port-80", "terminate-tls", "terminate-tls-and-web"],
)
def test_services_scope_is_the_rule_of_the_go_manager(config, expected):
    assert names(config) == expected


NODE = {
    "TCP": {"443": {"HTTPS": True}, "80": {"HTTP": True}, "8443": {"TerminateTLS": "t.ts.net"}},
    "Web": {"n.ts.net:443": {}, "n80.ts.net:80": {}, "n9.ts.net:9": {}},
    "Foreground": {"s1": {"TCP": {"10443": {"HTTPS": True}}, "Web": {"f.ts.net:10443": {}}}},
    "Services": {"svc:a": service("a.ts.net:443")},
}


def test_all_scope_adds_what_the_node_itself_serves_over_tls():
    """Its own and its foreground listeners count on any port that speaks HTTPS, and only there."""
    assert names(NODE) == {"a.ts.net"}
    assert names(NODE, Scope.ALL) == {"a.ts.net", "n.ts.net", "t.ts.net", "f.ts.net"}


def test_null_config_and_null_parts_are_empty():
    assert names(None) == set()
    assert names({"Services": {"svc:a": None, "svc:b": {"Web": None, "TCP": {"443": None}}}}) == set()


def test_field_names_match_in_any_case_as_in_go():
    assert names({"services": {"svc:a": {"web": {"A.ts.net:443": {}}}}}) == {"A.ts.net"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Services":\n {]}', "line 2, column 3"),
        ("", "line 1, column 1"),
        ("[]", "serve config: want a JSON object, not list"),
        ('{"Services": []}', "Services: want a JSON object, not list"),
        ('{"Services": {"svc:a": {"Web": 3}}}', 'Services["svc:a"].Web: want a JSON object, not int'),
        ('{"TCP": {"443": "x"}}', 'TCP["443"]: want a JSON object, not str'),
        ('{"TCP": {"443": {"TerminateTLS": 1}}}', 'TCP["443"].TerminateTLS: want a name'),
        ("[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        ("9" * 5000, "not JSON"),
    ],
)
def test_a_malformed_config_is_refused_with_the_place(text, message):
    with pytest.raises(ServeConfigError) as caught:
        ServeConfig.from_json(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a.ts.net", "missing port in address"),
        (":443", "names no host"),
        ("a:b:443", "too many colons in address"),
        ("[::1:443", "missing ']' in address"),
        ("a\nb.ts.net:443", "names no host"),
        ("\ud800.ts.net:443", "names no host"),
    ],
)
def test_a_host_port_that_cannot_be_read_is_named(key, reason):
    config = {"Services": {"svc:good": service("a.ts.net:443"), "svc:bad": service(key)}}
    with pytest.raises(ServeConfigError) as caught:
        names(config)
    assert 'Services["svc:bad"].Web' in str(caught.value)
    assert key in str(caught.value) or not key.isprintable()
    assert str(caught.value).isprintable()
    assert reason in str(caught.value)


# What net.SplitHostPort says (net/ipsock_test.go of Go).
@pytest.mark.parametrize(
    ("host_port", "expected"),
    [
        ("localhost:http", ("localhost", "http")),
        ("[::1]:443", ("::1", "443")),
        ("[fe80::1%lo0]:80", ("fe80::1%lo0", "80")),
        (":443", ("", "443")),
        ("a:", ("a", "")),
        ("[]:443", ("", "443")),
    ],
)
def test_host_port_is_split_as_go_does(host_port, expected):
    assert split_host_port(host_port) == expected


@pytest.mark.parametrize(
    ("host_port", "reason"),
    [
        ("", "missing port in address"),
        ("golang.org", "missing port in address"),
        ("[::1]", "missing port in address"),
        ("[::1]x:80", "missing port in address"),
        ("::1", "too many colons in address"),
        ("[::1]:80:90", "too many colons in address"),
        ("[::1", "missing ']' in address"),
        ("[foo:bar]baz", "missing port in address"),
        ("[foo]bar:baz", "missing port in address"),
        ("[foo]:[bar]:baz", "too many colons in address"),
        ("[foo]:[bar]baz", "unexpected '[' in address"),
        ("foo[bar]:baz", "unexpected '[' in address"),
        ("foo]bar:baz", "unexpected ']' in address"),
    ],
)
def test_host_port_that_go_refuses_is_refused_with_its_words(host_port, reason):
    with pytest.raises(ValueError, match=r".") as caught:
        split_host_port(host_port)
    assert str(caught.value) == reason


@given(st.text("a1.-:[]%", max_size=12))
def test_splitting_never_loses_a_character(text):
    """Whatever is split can be joined again, with brackets where they were; all else is a ValueError."""
    try:
        host, port = split_host_port(text)
    except ValueError:
        return
    assert text in (f"{host}:{port}", f"[{host}]:{port}")
    assert ":" not in port


KEYS = st.sampled_from(["TCP", "Web", "Services", "Foreground", "TerminateTLS", "svc:a", "a:443"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20))
def test_any_json_is_either_read_or_refused(value):
    try:
        ServeConfig.from_json(json.dumps(value)).domains(Scope.ALL)
    except ServeConfigError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 -- both outcomes are right


@pytest.mark.parametrize(
    ("only", "exclude", "let_through"),
    [
        ((), (), {"a.x.ts.net", "b.x.ts.net", "c.y.ts.net"}),
        (("*.x.ts.net",), (), {"a.x.ts.net", "b.x.ts.net"}),
        ((), ("A.*",), {"b.x.ts.net", "c.y.ts.net"}),
        (("*.X.ts.net", "c.*"), ("b.*",), {"a.x.ts.net", "c.y.ts.net"}),
        (("nothing",), (), set()),
    ],
)
def test_filter_lets_through_what_matches_only_and_not_what_matches_exclude(only, exclude, let_through):
    lets_through = DomainFilter(only=only, exclude=exclude)
    assert {name for name in ("a.x.ts.net", "b.x.ts.net", "c.y.ts.net") if lets_through(name)} == let_through


def test_a_line_shows_some_of_many_names_and_says_how_many_more():
    assert some_of(frozenset()) == "no name"
    assert some_of({"b", "a"}) == "a, b"
    assert some_of({"c", "b", "a"}, 2) == "a, b and 1 more"


@pytest.mark.parametrize(
    ("given_name", "checked"),
    [
        ("box.tail1234.ts.net", "box.tail1234.ts.net"),
        ("Box.Tail1234.TS.net.", "box.tail1234.ts.net"),
        ("*.tail1234.ts.net", "*.tail1234.ts.net"),
        ("my_box.ts.net", "my_box.ts.net"),
    ],
)
def test_a_name_a_person_gave_is_put_in_tailscaleds_form(given_name, checked):
    assert check_domain(given_name) == checked


@pytest.mark.parametrize(
    "bad", ["", "box", "a..b", ".a.b", "a b.c", "-a.b", "a-.b", "a/b.c", "ü.ts.net", "a" * 64 + ".b", "a.*.b",
            "*", "a." * 127 + "abc"]
)  # fmt: skip
def test_what_is_no_dns_name_is_refused_by_name(bad):
    with pytest.raises(InvalidDomainError) as caught:
        check_domain(bad)
    assert repr(bad) in str(caught.value)

"""Who may ask what."""

import pytest

from tscert_trio.status.guard import is_host_allowed, may_renew

KNOWN = ("box.tail1234.ts.net", "box")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9410",
        "127.0.0.1:9410",
        "100.64.0.1",
        "[::1]:9410",
        "[fd7a:115c:a1e0::1]",
        "box",
        "box.tail1234.ts.net:9410",
        "Box.Tail1234.ts.net.",
    ],
)
def test_localhost_addresses_and_known_names_may_be_asked_for(host):
    assert is_host_allowed(host, KNOWN)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":9410",
        "evil.example",
        "localhost.evil.example",
        "evil.example:9410",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost/evil.example",
        "localhost:port",
        "[::1",
        "[::1].evil.example",
        "127.1.evil",
        "box\\evil.example",
        "box.tail1234.ts.net.evil.example",
        "local host",
        "0x7f000001.evil.example",
    ],
)
def test_a_name_that_nobody_allowed_is_not_answered_to(host):
    """It may be that of a page elsewhere, which has had it point here (DNS rebinding)."""
    assert not is_host_allowed(host, KNOWN)


def test_a_star_allows_every_name_but_nothing_that_is_none():
    assert is_host_allowed("anything.example", ["*"])
    assert not is_host_allowed("", ["*"])


@pytest.mark.parametrize(
    ("peer_uid", "is_local", "expected"),
    [
        (0, True, True),
        (1000, True, True),
        (1001, True, False),
        (None, True, True),
        (None, False, False),
        (0, False, False),
    ],
)
def test_root_and_the_services_own_user_may_renew_and_nobody_over_tcp(peer_uid, is_local, expected):
    assert may_renew(peer_uid, is_local=is_local, own_uid=1000) is expected

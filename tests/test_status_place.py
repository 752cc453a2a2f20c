"""Where the status socket is."""

import os
from pathlib import Path

import pytest

from tscert_trio.status.place import default_status_socket, status_sockets

SYSTEM = Path("/run/tscert-trio/status.sock")


@pytest.mark.parametrize(
    ("uid", "platform", "environ", "expected"),
    [
        (0, "linux", {}, str(SYSTEM)),
        (0, "linux", {"RUNTIME_DIRECTORY": "/run/other"}, "/run/other/status.sock"),
        (1000, "linux", {"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/user/1000/tscert-trio/status.sock"),
        (1000, "linux", {"HOME": "/home/u"}, "/home/u/.local/state/tscert-trio/status.sock"),
        (1000, "linux", {"XDG_STATE_HOME": "/s", "HOME": "/home/u"}, "/s/tscert-trio/status.sock"),
        (
            1000,
            "darwin",
            {"HOME": "/Users/u"},
            "/Users/u/Library/Application Support/tscert-trio/status.sock",
        ),
    ],
)
def test_it_is_where_such_things_are(monkeypatch, uid, platform, environ, expected):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert default_status_socket(environ, platform) == Path(expected)


def test_a_user_finds_a_service_of_his_own_first_and_then_the_systems(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    own = Path("/run/user/1000/tscert-trio/status.sock")
    assert status_sockets({"XDG_RUNTIME_DIR": "/run/user/1000"}) == [own, SYSTEM]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert status_sockets({}) == [SYSTEM]

"""Where tailscaled's socket is looked for."""

import socket
from pathlib import Path

import pytest

from tscert_trio import LocalClient
from tscert_trio.localapi import socket_path


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", "/var/run/tailscale/tailscaled.sock"),
        ({}, "freebsd14", "/var/run/tailscale/tailscaled.sock"),
        ({}, "darwin", "/var/run/tailscaled.socket"),
        ({"TS_SOCKET": "/tmp/tailscaled.sock"}, "darwin", "/tmp/tailscaled.sock"),
        ({"TS_SOCKET": ""}, "linux", "/var/run/tailscale/tailscaled.sock"),
    ],
)
def test_each_platform_has_its_place_and_ts_socket_goes_before(environ, platform, expected):
    assert socket_path.default_socket_path(environ, platform) == Path(expected)


def test_a_socket_in_a_place_of_a_nas_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket_path, "_SPECIAL_PLACES", ("missing", "nas.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("nas.sock")
        assert socket_path.default_socket_path({}, "linux") == Path("nas.sock")


def test_a_socket_in_tmp_is_taken_on_qnap_only(tmp_path, monkeypatch):
    """Elsewhere any local user could put one there."""
    assert "tmp" not in str(socket_path.default_socket_path({}, "linux"))
    (tmp_path / "uLinux.conf").touch()
    monkeypatch.setattr(socket_path, "_QNAP_MARK", tmp_path / "uLinux.conf")
    assert socket_path.default_socket_path({}, "linux") == Path("/tmp/tailscale/tailscaled.sock")


def test_the_client_takes_the_default_where_it_is_given_none(monkeypatch):
    monkeypatch.setenv("TS_SOCKET", "/tmp/other.sock")
    assert LocalClient().socket_path == Path("/tmp/other.sock")

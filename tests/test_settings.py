"""Settings: what is understood, what is refused, and where each came from."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tscert_trio import Scope, SettingsError
from tscert_trio.option_values import parse_duration
from tscert_trio.options import OPTIONS
from tscert_trio.settings import NO_SOCKET, Settings
from tscert_trio.target_settings import FilesSettings, HookSettings, ProbeSettings, TargetSettings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("24h", 86400),
        ("30d", 2592000),
        ("1.5h", 5400),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "5w", "m5", "-5m", "0s", "1e3s", "5M", "inf", "9" * 20 + "d"]
)
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"no duration|no time at all|too long") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(st.integers(1, 10**11))
def test_every_number_of_milliseconds_can_be_written(milliseconds):
    assert parse_duration(f"{milliseconds}ms") == timedelta(milliseconds=milliseconds)


def test_the_defaults_are_those_of_the_go_manager_for_all_names():
    settings = Settings.load({}, {})
    assert settings.scope is Scope.ALL
    assert settings.refresh_interval == timedelta(hours=24)
    assert (settings.retry_initial, settings.retry_factor, settings.retry_max) == (
        timedelta(minutes=1),
        2,
        timedelta(hours=24),
    )
    assert settings.issue_timeout == timedelta(seconds=300)
    assert settings.poll_interval == timedelta(seconds=30)
    assert settings.origins == {}


def test_the_command_line_goes_before_the_environment_and_that_before_tailscales_own_variables():
    environ = {"TSCERT_SOCKET": "/b", "TS_SOCKET": "/c", "TS_SERVE_CONFIG": "/d", "TSCERT_RETRY_MAX": "2h"}
    settings = Settings.load({"socket": "/a"}, environ)
    assert (settings.socket, settings.serve_config) == (Path("/a"), Path("/d"))
    assert settings.origins == {
        "socket": "--socket",
        "serve_config": "TS_SERVE_CONFIG",
        "retry_max": "TSCERT_RETRY_MAX",
    }
    assert Settings.load({}, environ).socket == Path("/b")
    assert Settings.load({}, {"TS_SOCKET": "/c"}).socket == Path("/c")


def test_every_option_can_be_set_in_the_environment(tmp_path):
    (tmp_path / "config.toml").touch()
    examples = {
        "config_file": str(tmp_path / "config.toml"),
        "domains": "a.ts.net, b.ts.net",
        "socket": "/s",
        "scope": "services",
        "serve_config": "/f",
        "poll_interval": "5s",
        "self_name": "true",
        "only": "*.a *.b",
        "exclude": "*.c",
        "refresh_interval": "1h",
        "retry_initial": "2m",
        "retry_factor": "10",
        "retry_max": "3h",
        "issue_timeout": "4m",
        "state": "/var/lib/x",
        "ca_directory": "https://ca.example/directory",
        "no_ari": "true",
        "ca_limits": "none",
        "target_files": "/etc/ssl/tailnet",
        "target_reload": "nginx.service",
        "target_hook": "logger 'it is new'",
        "target_probe": "[::1]:8443",
        "status_socket": "/run/s",
        "status_group": "adm",
        "listen": "9410",
        "allowed_hosts": "box.tail1234.ts.net, box",
        "log_format": "json",
        "log_level": "debug",
    }
    environ = {option.variable: examples[option.field] for option in OPTIONS}
    settings = Settings.load({}, environ)
    of_the_target = {option for option in OPTIONS if option.field.startswith("target_")}
    assert settings.origins == {
        option.field: option.variable for option in OPTIONS if option not in of_the_target
    } | {"targets[0]": "TSCERT_FILES and TSCERT_RELOAD and TSCERT_HOOK and TSCERT_PROBE"}
    assert settings.targets == (
        TargetSettings(
            name="nginx.service",
            files=FilesSettings(directory="/etc/ssl/tailnet"),
            reload="nginx.service",
            hook=HookSettings(command=("logger", "it is new")),
            probe=ProbeSettings(host="::1", port=8443),
        ),
    )
    assert settings.domains == ("a.ts.net", "b.ts.net")
    assert settings.only == ("*.a", "*.b")
    assert settings.self_name is True


def test_an_empty_variable_is_as_good_as_none():
    assert Settings.load({}, {"TSCERT_SCOPE": "", "TSCERT_SELF": ""}).origins == {}


def test_all_faults_are_told_at_once_each_with_its_option_and_what_would_be_right():
    flags = {"domains": ["box"], "retry_initial": "soon", "scope": "most"}
    environ = {"TSCERT_RETRY_FACTOR": "two", "TSCERT_SELF": "maybe", "TSCERT_LOG_LEVEL": "loud"}
    with pytest.raises(SettingsError) as caught:
        Settings.load(flags, environ)
    assert caught.value.faults == (
        "DOMAIN: 'box' is no DNS name; one looks like box.tail1234.ts.net",
        "--scope: 'most' is none of services, all",
        "TSCERT_SELF: 'maybe' is neither true nor false",
        "--retry-initial: 'soon' is no duration; write 500ms, 90s, 5m, 1h30m, 24h or 30d",
        "TSCERT_RETRY_FACTOR: 'two' is no factor; write a number from 1 up, such as 2",
        "TSCERT_LOG_LEVEL: 'loud' is none of debug, info, warning, error",
    )


def test_read_leniently_what_makes_no_sense_has_its_default_and_its_fault_beside():
    settings, faults = Settings.load_leniently(
        {"scope": "most", "self_name": True}, {"TSCERT_RETRY_MAX": "x"}
    )
    assert (settings.scope, settings.self_name, settings.retry_max) == (Scope.ALL, True, Settings().retry_max)
    assert [fault.split(":")[0] for fault in faults] == ["--scope", "TSCERT_RETRY_MAX"]
    assert Settings.load_leniently({}, {}) == (Settings.load({}, {}), ())


@pytest.mark.parametrize("factor", ["0.5", "-1", "nan", "inf"])
def test_a_factor_that_would_shorten_or_end_the_waits_is_refused(factor):
    with pytest.raises(SettingsError, match="is no factor"):
        Settings.load({"retry_factor": factor}, {})


def test_an_empty_pattern_on_the_command_line_is_refused_and_lets_not_everything_through():
    with pytest.raises(SettingsError, match="--only: is empty"):
        Settings.load({"only": [""]}, {})


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"socket": ""}, "--socket: is empty"),
        ({"target_files": ""}, "--files: is empty"),
        ({"target_files": "/{name}"}, "--files: '{name}' has no meaning in a path"),
        ({"target_reload": "a b"}, "--reload: 'a b' is no systemd unit"),
        ({"target_hook": "a 'b"}, '--hook: "a \'b" is no command: no closing quotation'),
        ({"target_hook": " "}, "--hook: is empty; write the program"),
        ({"target_probe": "box"}, "--probe: 'box': missing port in address; want host:port, or nothing"),
        ({"target_probe": "box:x"}, "--probe: 'box:x': 'x' is no port"),
        ({"target_probe": "box:70000"}, "--probe: 70000 is no port"),
    ],
)
def test_what_makes_no_sense_in_the_target_of_the_command_line_is_refused(flags, fault):
    with pytest.raises(SettingsError) as caught:
        Settings.load(flags, {})
    (told,) = caught.value.faults
    assert told.startswith(fault)


def test_a_probe_can_be_switched_off_in_the_environment():
    assert Settings.load({}, {"TSCERT_PROBE": "false"}).targets == ()
    assert Settings.load({}, {"TSCERT_PROBE": "true"}).targets[0].probe == ProbeSettings()


def test_a_switch_on_the_command_line_needs_no_value():
    assert Settings.load({"self_name": True}, {}).origins == {"self_name": "--self"}


def test_a_first_wait_above_the_longest_is_refused():
    with pytest.raises(SettingsError, match="--retry-initial is longer than --retry-max"):
        Settings.load({"retry_initial": "2h", "retry_max": "1h"}, {})


@pytest.mark.parametrize(
    ("environ", "is_reader"),
    [
        ({}, False),
        ({"POD_NAME": "proxy-1"}, False),
        ({"TS_EXPERIMENTAL_CERT_SHARE": "true", "POD_NAME": "proxy-0"}, False),
        ({"TS_EXPERIMENTAL_CERT_SHARE": "false", "POD_NAME": "proxy-1"}, False),
        ({"TS_EXPERIMENTAL_CERT_SHARE": "true", "POD_NAME": "proxy-1"}, True),
        ({"TS_EXPERIMENTAL_CERT_SHARE": "1"}, True),
    ],
)
def test_of_sharing_replicas_only_the_one_that_ends_in_0_issues(environ, is_reader):
    """The rule of containerboot (``cmd/containerboot/settings.go``)."""
    reason = Settings.load({}, environ).reader_reason
    assert (reason is not None) is is_reader
    if reason:
        assert "POD_NAME" in reason


def test_two_targets_that_would_write_the_same_file_by_turns_are_a_fault(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(
        '[[targets]]\nfiles = {directory = "/srv/tls"}\n'
        '[[targets]]\nfiles = {combined = "/srv/x/../tls/{domain}.crt"}\n'
        '[[targets]]\ndomains = ["a.b.ts.net"]\nfiles = {key = "/srv/a.key"}\n'
        '[[targets]]\ndomains = ["c.b.ts.net"]\nfiles = {key = "/srv/a.key"}\n'
    )
    with pytest.raises(SettingsError) as caught:
        Settings.load({"config_file": str(config)}, {})
    (fault,) = caught.value.faults
    assert fault.startswith("targets[1].files: '/srv/tls/{domain}.crt' is written by targets[0], too")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9410", "127.0.0.1:9410"),
        (":9410", "127.0.0.1:9410"),
        ("0.0.0.0:9410", "0.0.0.0:9410"),
        ("[::1]:9410", "[::1]:9410"),
        ("box:0", "box:0"),
    ],
)
def test_the_status_is_told_on_loopback_unless_another_address_is_given(text, address):
    assert Settings.load({"listen": text}, {}).listen == address


@pytest.mark.parametrize(
    "text", ["many", ":", "box:", "box:http", "127.0.0.1", "::1:9410", "box:65536", "[::1"]
)
def test_an_address_that_is_none_is_told_with_what_would_be_one(text):
    with pytest.raises(SettingsError, match=r"--listen: .*want 9410, host:port or \[IPv6\]:port"):
        Settings.load({"listen": text}, {})


def test_the_status_socket_is_where_the_platform_has_it_unless_told_or_none():
    assert Settings.load({}, {"RUNTIME_DIRECTORY": "/run/x:/run/y"}).status_socket == Path(
        "/run/x/status.sock"
    )
    assert Settings.load({"status_socket": "none"}, {}).status_socket == NO_SOCKET
    assert Settings().status_socket == NO_SOCKET


NO_UTF_8 = "/run/x\udcff"
"""As Python has what the system hands over as the bytes ``/run/x\\xff``."""


@pytest.mark.parametrize("field", ["socket", "serve_config", "state", "status_socket", "config_file"])
def test_a_path_that_is_no_utf_8_is_refused_since_no_answer_and_no_journal_could_tell_it(field):
    (option,) = (option for option in OPTIONS if option.field == field)
    for flags, environ, origin in (
        ({field: NO_UTF_8}, {}, option.flag),
        ({}, {option.variable: NO_UTF_8}, option.variable),
    ):
        with pytest.raises(SettingsError) as caught:
            Settings.load(flags, environ)
        assert f"{origin}: '/run/x\\udcff' is no UTF-8; give another path" in str(caught.value)
        str(caught.value).encode()


@pytest.mark.parametrize(
    ("variable", "flag"),
    [
        ("STATE_DIRECTORY", "--state"),
        ("RUNTIME_DIRECTORY", "--status-socket"),
        ("CONFIGURATION_DIRECTORY", "--config"),
    ],
)
def test_a_default_that_is_no_utf_8_is_refused_unless_another_is_given(tmp_path, variable, flag):
    folder = Path(f"{tmp_path}/\udcff")
    folder.mkdir()
    (folder / "config.toml").touch()
    (tmp_path / "config.toml").touch()
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {variable: str(folder)})
    (fault,) = caught.value.faults
    assert fault.startswith(f"{flag}: its default ")
    assert fault.endswith(" is no UTF-8; give another path")
    field = flag.removeprefix("--").replace("-", "_").replace("config", "config_file")
    Settings.load({field: str(tmp_path / "config.toml")}, {variable: str(folder)})

"""The configuration file: where it is found, what it may say, and what is told about one that is wrong."""

import contextlib
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from tscert_trio import SettingsError
from tscert_trio.cli.config_toml import settings_toml, target_toml
from tscert_trio.config_file import default_config_files, read_config_file
from tscert_trio.config_places import read_texts
from tscert_trio.options import OPTIONS
from tscert_trio.schedule import Mode
from tscert_trio.settings import Settings
from tscert_trio.target_settings import (
    FILE_KEYS,
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    SignalSettings,
    TargetSettings,
    shared_paths,
)

in_one_folder = hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def load(tmp_path):
    """Load settings from a file with some text, and more."""

    def load(text, environ=None, **flags):
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Settings.load({"config_file": str(path)} | flags, environ or {})

    return load


@pytest.fixture
def faults(load, tmp_path):
    """Return the faults of a file, with its path left out."""

    def faults(text, **flags):
        with pytest.raises(SettingsError) as caught:
            load(text, **flags)
        place = str(tmp_path / "config.toml")
        return [fault.replace(f" in {place}", "").replace(place, "FILE") for fault in caught.value.faults]

    return faults


def targets(load, text):
    return load(text).targets


ALL_SETTINGS = """
domains = ["a.ts.net", "B.ts.net"]
socket = "/s"
scope = "services"
serve_config = "/f"
poll_interval = "5s"
self = true
only = ["*.a", "*.b"]
not = ["*.c"]
refresh_interval = "1h"
retry_initial = "2m"
retry_factor = 10
retry_max = "3h"
issue_timeout = "4m"
state = "/var/lib/x"
ca_directory = "https://ca.example/directory"
no_ari = true
ca_limits = "none"
status_socket = "/run/s"
status_group = "adm"
listen = "9410"
allowed_hosts = ["box.tail1234.ts.net"]
log_format = "json"
log_level = "debug"
"""


# Where it is, and what goes before it


def test_the_file_is_looked_for_in_the_folder_for_configuration_and_then_in_etc():
    etc = Path("/etc/tscert-trio.toml")
    assert default_config_files({"HOME": "/h"}, "linux") == (Path("/h/.config/tscert-trio/config.toml"), etc)
    xdg = {"HOME": "/h", "XDG_CONFIG_HOME": "/x"}
    assert default_config_files(xdg, "linux") == (Path("/x/tscert-trio/config.toml"), etc)
    systemd = xdg | {"CONFIGURATION_DIRECTORY": "/etc/one:/etc/two"}
    assert default_config_files(systemd) == (Path("/etc/one/config.toml"), Path("/etc/two/config.toml"), etc)
    (mac, _) = default_config_files({"HOME": "/h"}, "darwin")
    assert mac == Path("/h/Library/Application Support/tscert-trio/config.toml")
    assert default_config_files({}) == (etc,)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'state = "/s"\nself = true\n[[targets]]\nreload = "nginx"', {"state": "/s"}),
        (b'state = "/\\u0000"', {}),
        (b"state = ", {}),
        (b"\xff", {}),
        (b"a = " + 9999 * b"[", {}),
    ],
)
def test_texts_are_read_of_a_file_whatever_else_is_wrong_with_it(tmp_path, text, found):
    (tmp_path / "config.toml").write_bytes(text)
    assert read_texts({"CONFIGURATION_DIRECTORY": f"/nonexistent:{tmp_path}"}) == found
    assert read_texts({"TSCERT_CONFIG": str(tmp_path / "config.toml")}) == found


def test_texts_of_no_file_are_none(tmp_path):
    assert read_texts({"TSCERT_CONFIG": str(tmp_path / "missing")}) == {}
    assert read_texts({"TSCERT_CONFIG": str(tmp_path)}) == {}


def test_the_first_file_that_exists_is_read_and_one_that_was_named_before_all(tmp_path):
    file, other = tmp_path / "config.toml", tmp_path / "other.toml"
    environ = {"CONFIGURATION_DIRECTORY": f"{tmp_path / 'missing'}:{tmp_path}"}
    file.write_text("self = true")
    other.write_text("no_ari = true")
    settings = Settings.load({}, environ)
    assert settings.config_file == file
    assert settings.origins == {"self_name": f"self in {file}"}
    settings = Settings.load({}, environ | {"TSCERT_CONFIG": str(other)})
    assert settings.origins == {"no_ari": f"no_ari in {other}", "config_file": "TSCERT_CONFIG"}
    assert Settings.load({"config_file": str(other)}, environ).config_file == other


def test_a_file_that_was_named_and_is_not_there_is_a_fault(tmp_path):
    path = tmp_path / "missing.toml"
    with pytest.raises(SettingsError) as caught:
        Settings.load({"config_file": str(path), "scope": "most"}, {})
    assert caught.value.faults == (
        "--scope: 'most' is none of services, all",
        f"{path}: No such file or directory",
    )
    with pytest.raises(SettingsError, match="Is a directory"):
        Settings.load({"config_file": str(tmp_path)}, {})


def test_every_setting_can_be_in_the_file_under_its_name_with_underscores(load, tmp_path):
    settings = load(ALL_SETTINGS)
    keys = {option.field: option.key for option in OPTIONS if option.is_in_file}
    file = tmp_path / "config.toml"
    in_file = {field: f"{key} in {file}" for field, key in keys.items()}
    assert settings.origins == in_file | {"config_file": "--config"}
    assert settings.domains == ("a.ts.net", "b.ts.net")
    assert (settings.only, settings.exclude) == (("*.a", "*.b"), ("*.c",))
    assert (settings.retry_factor, settings.retry_max) == (10, timedelta(hours=3))
    assert (settings.listen, settings.allowed_hosts) == ("127.0.0.1:9410", ("box.tail1234.ts.net",))


def test_the_environment_goes_before_the_file_and_the_command_line_before_both(load):
    settings = load(ALL_SETTINGS, {"TSCERT_RETRY_MAX": "5h", "TS_SOCKET": "/e"}, socket="/c", only=["*.z"])
    assert (settings.retry_max, settings.socket, settings.only) == (timedelta(hours=5), Path("/c"), ("*.z",))
    assert settings.origins["retry_max"] == "TSCERT_RETRY_MAX"
    assert settings.origins["only"] == "--only"


def test_a_switch_that_the_file_has_on_can_be_put_off_in_the_environment(load):
    assert load("self = true", {"TSCERT_SELF": "false"}).self_name is False


def test_without_a_file_nothing_that_reads_one_is_imported():
    """Whatever measures the coverage of processes may have read one before."""
    program = """
import sys
before = set(sys.modules)
import tscert_trio, tscert_trio.cli.main
from tscert_trio.settings import Settings
Settings.load({"target_files": "/x", "target_probe": "true"}, {})
print(*{"cattrs", "tomllib"} & (sys.modules.keys() - before))
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"


# Targets


def test_a_target_has_its_defaults(load):
    (target,) = targets(
        load, '[[targets]]\nfiles = {directory = "/etc/ssl/tailnet"}\nreload = "nginx.service"'
    )
    assert target == TargetSettings(
        name="nginx.service",
        domains=("*",),
        files=FilesSettings(directory="/etc/ssl/tailnet", mode=0o644, key_mode=0o600, layout="plain"),
        reload="nginx.service",
    )


def test_a_file_of_a_target_is_a_path_or_a_table(load):
    (target,) = targets(
        load,
        """
        [[targets]]
        files.key = {path = "/k/{domain}", owner = "www", group = "1000", mode = "0640"}
        files.chain = "/c/{domain}"
        """,
    )
    assert target.files.key == FileSettings(path="/k/{domain}", owner="www", group="1000", mode=0o640)
    assert target.files.chain == FileSettings(path="/c/{domain}")


@pytest.mark.parametrize(
    ("text", "hook"),
    [
        ('["a", "b c"]', HookSettings(command=("a", "b c"))),
        (
            '{command = ["a"], coalesce = true, timeout = "5s"}',
            HookSettings(command=("a",), coalesce=True, timeout=timedelta(seconds=5)),
        ),
        ('{command = "a && b", shell = true}', HookSettings(command=("a && b",), shell=True)),
        ('{command = ["a && b"], shell = true}', HookSettings(command=("a && b",), shell=True)),
    ],
)
def test_a_hook_is_a_list_or_a_table_and_for_a_shell_a_text(load, text, hook):
    settings = load(f"on_failure = {text}\n[[targets]]\nhook = {text}")
    assert settings.targets[0].hook == settings.on_failure == hook
    assert settings.targets[0].hook.timeout in {timedelta(minutes=2), timedelta(seconds=5)}


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("true", ProbeSettings()),
        ('"box:8443"', ProbeSettings(host="box", port=8443)),
        ('"[fd7a::1]:443"', ProbeSettings(host="fd7a::1")),
        ('":8443"', ProbeSettings(port=8443)),
        (
            '{host = "::1", port = 5, timeout = "1s"}',
            ProbeSettings(host="::1", port=5, timeout=timedelta(seconds=1)),
        ),
        ("{}", ProbeSettings()),
    ],
)
def test_a_probe_is_true_or_an_address_or_a_table(load, text, probe):
    assert targets(load, f"[[targets]]\nprobe = {text}")[0].probe == probe


def test_a_probe_that_is_false_is_none(load):
    assert targets(load, '[[targets]]\nprobe = false\nreload = "x"')[0].probe is None


def test_a_signal_is_hup_unless_told_and_may_have_its_full_name(load):
    first, second = targets(
        load,
        """
        [[targets]]
        signal = {pidfile = "/p"}
        [[targets]]
        signal = {pidfile = "/p", signal = "SIGUSR1"}
        """,
    )
    assert first.signal == SignalSettings(pidfile=Path("/p"), signal="HUP")
    assert second.signal.signal == "USR1"


def test_targets_without_a_name_are_named_for_what_they_do_each_differently(load):
    named = targets(
        load,
        """
        [[targets]]
        domains = ["c.b.ts.net"]
        reload = "nginx.service"
        files = {directory = "/d"}
        [[targets]]
        reload = "nginx.service"
        [[targets]]
        name = "nginx.service-2"
        probe = true
        [[targets]]
        domains = ["a.b.ts.net"]
        files = {directory = "/d"}
        hook = ["a"]
        [[targets]]
        files = {key = "/k/{domain}"}
        [[targets]]
        hook = ["a", "b"]
        [[targets]]
        signal = {pidfile = "/p"}
        [[targets]]
        probe = true
        [[targets]]
        probe = "box:99"
        [[targets]]
        signal = {pidfile = " \\n"}
        """,
    )
    assert [target.name for target in named] == [
        "nginx.service",
        "nginx.service-3",
        "nginx.service-2",
        "/d",
        "/k/{domain}",
        "a b",
        "/p",
        "probe of port 443",
        "probe of box:99",
        "target",
    ]


def test_the_names_of_a_target_are_patterns_in_lower_case_and_for_one_name_a_path_may_be_fixed(load):
    (target,) = targets(load, '[[targets]]\ndomains = ["Box.TS.net"]\nfiles = {key = "/etc/box.key"}')
    assert target.domains == ("box.ts.net",)


def test_the_one_target_of_the_command_line_equals_what_it_stands_for(load):
    flags = {"self_name": True, "target_files": "/etc/ssl/tailnet", "target_reload": "nginx.service"}
    text = '[[targets]]\nfiles = {directory = "/etc/ssl/tailnet"}\nreload = "nginx.service"'
    assert Settings.load(flags, {}) == load(f"self = true\n{text}")


def test_the_target_of_the_command_line_is_added_to_those_of_the_file_by_a_name_of_its_own(load, tmp_path):
    text = '[[targets]]\nreload = "nginx.service"'
    environ = {"TSCERT_PROBE": "box:8443"}
    settings = load(text, environ, target_reload="nginx.service", target_hook="logger 'it is new'")
    assert settings.targets[1:] == (
        TargetSettings(
            name="nginx.service-2",
            hook=HookSettings(command=("logger", "it is new")),
            reload="nginx.service",
            probe=ProbeSettings(host="box", port=8443),
        ),
    )
    assert settings.origins["targets[0]"] == f"targets[0] in {tmp_path / 'config.toml'}"
    assert settings.origins["targets[1]"] == "--reload and --hook and TSCERT_PROBE"


def test_a_name_with_issue_false_is_a_guest_unless_nothing_is_ordered_anyway(load):
    text = """
    names = [{name = "Old-*.ts.net", issue = false}, {name = "new.ts.net", issue = true}]
    """
    settings = load(text)
    assert settings.guests == ("old-*.ts.net",)
    assert settings.mode_of("old-box.ts.net") is Mode.GUEST
    assert settings.mode_of("new.ts.net") is Mode.KEEPER
    reader = attrs.evolve(settings, reader_reason="one of many")
    assert reader.mode_of("old-box.ts.net") is Mode.READER
    assert Settings().mode_of("box.ts.net") is Mode.KEEPER


# What is wrong


def test_a_fault_of_toml_is_told_with_its_line(faults):
    assert faults("self = true\nonly = [\n") == [
        "FILE: is no TOML: Invalid value (at line 2, end of document)"
    ]
    (fault,) = faults("self = true\nretry max = 3\n")
    assert re.fullmatch(r"FILE: is no TOML: .* \(at line 2, column 7\)", fault)
    assert faults(b"self = true\n# \xff") == ["FILE: is no UTF-8 (at line 2)"]
    assert faults("a = " + "[" * 5000) == ["FILE: is nested too deeply"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("self = 1", "self: want true or false, not a whole number"),
        ('self = "true"', "self: want true or false, not text"),
        (
            "poll_interval = 5",
            'poll_interval: want a duration in quotes, such as "90s" or "12h", not a whole',
        ),
        ('poll_interval = "5"', "poll_interval: '5' is no duration; write"),
        ('retry_factor = "2"', "retry_factor: want a number, such as 2, not text"),
        ("retry_factor = true", "retry_factor: want a number, such as 2, not true"),
        ("retry_factor = nan", "retry_factor: 'nan' is no factor"),
        (f"retry_factor = 0x{'f' * 9999}", "retry_factor: is too large"),
        ('only = "*.ts.net"', 'only: want a list, such as ["…"], not text'),
        ("only = []", "only: is empty; leave it out"),
        ('only = [""]', "only: is empty"),
        ('only = ["a, b"]', "only: 'a, b' is more than one; give each a text of its own in the list"),
        ("not = [3]", "not: want text in quotes, not a whole number"),
        ('domains = ["box"]', "domains: 'box' is no DNS name"),
        ("state = 1979-05-27", "state: want text in quotes, not a date or time"),
        ('state = "a\\u0000b"', "state: has a null character in it"),
        ("retry_mx = 3", "retry_mx: is no setting; do you mean retry_max?"),
        ("retry-max = 3", "retry-max: is no setting; do you mean retry_max?"),
        ('"a b" = 3', "'a b': is no setting; there are allowed_hosts, ca_directory, "),
        ('config = "/x"', "config: a configuration file cannot name another"),
        ('reload = "x"', "reload: belongs to a target; write [[targets]], and reload under it"),
        ("target = 3", "target: is no setting; do you mean targets?"),
        ("targets = {}", "targets: want [[targets]] with two brackets, since there may be several"),
        ("targets = true", "targets: want [[targets]] with two brackets"),
        ("targets = [3]", "targets[0]: want a table, not a whole number"),
        ("on_failure = 3", "on_failure: want a table, not a whole number"),
        ("on_failure = []", "on_failure.command: is empty; write the program and its arguments"),
        (
            'on_failure = {command = ["a", "b"], shell = true}',
            "on_failure.command: want one text, since shell",
        ),
        ('names = [{name = "*"}]', "names[0].issue: is missing"),
        ('names = [{name = "a b", issue = false}]', "names[0].name: 'a b' is no name or pattern"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_key_and_what_would_be_right(faults, text, fault):
    (told,) = faults(text)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ": does nothing; give one of files, hook, reload, signal, probe"),
        ("probe = false", ": does nothing"),
        ("name = 3\nprobe = true", ".name: want text in quotes, not a whole number"),
        ('name = " "\nprobe = true', ".name: ' ' is no name of a target"),
        ("domains = []\nprobe = true", '.domains: is empty; ["*"] is every name'),
        ('domains = ["*", "a b"]\nprobe = true', ".domains[1]: 'a b' is no name or pattern"),
        ('domains = "*"\nprobe = true', '.domains: want a list, such as ["…"], not text'),
        ('files = "/x"', ".files: want a table, not text"),
        ("files = {}", ".files: has no file to write; give directory, or one of key, certificate, chain"),
        ('files = {directory = ""}', ".files.directory: is empty"),
        ('files = {directory = "/{name}"}', ".files.directory: '{name}' has no meaning in a path"),
        ('files = {key = "/k"}', ".files.key: '/k' would be the same for every name; put {domain} into it"),
        ('domains = ["a.ts.net", "b.ts.net"]\nfiles = {key = "/k"}', ".files.key: '/k' would be the same"),
        ("files = {key = {}}", ".files.key.path: is missing"),
        (
            'files = {key = "/{domain}", chain = "/{domain}"}',
            ".files.chain: '/{domain}' is the path of key, too",
        ),
        (
            'files = {directory = "/d", mode = 644}',
            '.files.mode: want an octal mode in quotes, such as "0640", not a',
        ),
        (
            'files = {directory = "/d", key_mode = "0999"}',
            ".files.key_mode: want an octal mode in quotes, such",
        ),
        ('files = {directory = "/d", key_mode = "04755"}', ".files.key_mode: want an octal mode in quotes"),
        ('files = {directory = "/d", owner = 0}', ".files.owner: want text in quotes, not a whole number"),
        ('files = {directory = "/d", owner = "a b"}', ".files.owner: 'a b' is no user or group"),
        ('files = {directory = "/d", layout = "old"}', ".files.layout: 'old' is none of plain, versioned"),
        (
            'files = {key = "/{domain}", layout = "versioned"}',
            '.files.directory: is missing; layout = "versioned" needs',
        ),
        ('files = {pkcs12 = "/{domain}.p12"}', ".files.pkcs12_password_file: is missing; pkcs12 needs it"),
        ('hook = "nginx -s reload"', ".hook: a text is for a shell; write a list, such as"),
        (
            'hook = {command = "nginx -s reload"}',
            ".hook.command: a text is for a shell; write a list, such as",
        ),
        ("hook = {}", ".hook.command: is missing"),
        ('hook = [""]', ".hook.command: is empty"),
        ('hook = ["a", 3]', ".hook.command[1]: want text in quotes, not a whole number"),
        ('hook = ["a", "b\\u0000"]', ".hook.command[1]: has a null character in it"),
        ('hook = {command = ["a"], shell = 1}', ".hook.shell: want true or false, not a whole number"),
        ('hook = {command = ["a"], timeout = 5}', ".hook.timeout: want a duration in quotes"),
        ('hook = {command = ["a"], time = "5s"}', ".hook.time: is no setting; do you mean timeout?"),
        ('reload = "-a b"', ".reload: '-a b' is no systemd unit; one looks like nginx.service"),
        ("signal = {}", ".signal.pidfile: is missing"),
        ('signal = {pidfile = ""}', ".signal.pidfile: is empty"),
        ('signal = {pidfile = "/p", signal = "HUPP"}', ".signal.signal: 'HUPP' is no signal; write its name"),
        ('signal = {pidfile = "/p", signal = 1}', ".signal.signal: want text in quotes, not a whole number"),
        ('probe = "true"', ".probe: 'true' is no \"host:port\"; true is port 443 of the node's own address"),
        ('probe = "::1:443"', ".probe: '::1:443': too many colons in address; want host:port"),
        ('probe = "box:https"', ".probe: 'box:https': 'https' is no port; want host:port"),
        ('probe = "box:0"', ".probe: 0 is no port; those are 1 to 65535"),
        ("probe = {port = true}", ".probe.port: want a whole number, not true"),
        ('probe = {host = "a b"}', ".probe.host: 'a b' is no host; write a name or an address"),
    ],
)
def test_what_is_wrong_with_a_target_is_told_with_its_key(faults, text, fault):
    (told,) = faults(f"[[targets]]\n{text}")
    assert told.startswith(f"targets[0]{fault}")


def test_a_name_that_two_targets_have_is_refused(faults):
    target = '[[targets]]\nname = "a"\nprobe = true\n'
    assert faults(target * 2) == ["targets[1].name: 'a' is the name of targets[0], too; give each its own"]


def test_all_faults_of_file_environment_and_command_line_are_told_at_once(load, tmp_path):
    """Also what is wrong between fields of which one is wrong by itself."""
    text = """
    poll_interval = 5
    retry_max = "1s"
    slef = true
    names = [{issue = 3}]
    [[targets]]
    domains = ["*", 3]
    files = {key = "/k", mode = 3, layout = "versioned"}
    hook = {command = [3], shel = true}
    [[targets]]
    nam = "x"
    """
    with pytest.raises(SettingsError) as caught:
        load(text, {"TSCERT_SCOPE": "most"}, target_reload="a b")
    place = f" in {tmp_path / 'config.toml'}: "
    keys = [fault.split(place)[0] if place in fault else fault for fault in caught.value.faults]
    assert keys == [
        "TSCERT_SCOPE: 'most' is none of services, all",
        "--reload: 'a b' is no systemd unit; one looks like nginx.service",
        "slef",
        "poll_interval",
        "targets[0].domains[1]",
        "targets[0].files.mode",
        "targets[0].files.directory",
        "targets[0].hook.shel",
        "targets[0].hook.command[0]",
        "targets[0].files.key",
        "targets[1].nam",
        "targets[1]",
        "names[0].name",
        "names[0].issue",
        "--retry-initial is longer than --retry-max",
    ]


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: TargetSettings(name="x"), "does nothing"),
        (FilesSettings, "has no file to write"),
        (
            lambda: FilesSettings(key=FileSettings(path="/{domain}"), layout="versioned"),
            "directory: is missing",
        ),
        (lambda: HookSettings(command=("a", "b"), shell=True), "command: want one text"),
        (
            lambda: TargetSettings(name="x", files=FilesSettings(key=FileSettings(path="/k"))),
            "files.key: '/k' would be",
        ),
        (lambda: FileSettings(path="/k", mode=0o1777), "is no mode"),
    ],
)
def test_a_program_cannot_make_settings_that_make_no_sense_either(make, fault):
    with pytest.raises(ValueError, match=re.escape(fault)):
        make()


# Whatever a file says

keys_of_files = [option.key for option in OPTIONS] + ["targets", "names", "on_failure"]
keys_within = [
    field.name
    for kind in (TargetSettings, FilesSettings, FileSettings, HookSettings, SignalSettings, ProbeSettings)
    for field in attrs.fields(kind)
] + ["issue", "wat"]
toml_scalars = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(['"*"', '"a.ts.net"', '"5m"', '"0640"', '"/x/{domain}"', '"box:443"', '""', '"\\u0000"']),
    st.text("ab:[]{}*/.\t ü", max_size=6).map(lambda text: '"' + text.replace("\t", "\\t") + '"'),
    st.sampled_from(["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"]),
)
toml_values = st.recursive(
    toml_scalars,
    lambda values: st.one_of(
        st.lists(values, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(keys_within), values, max_size=4).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=12,
)


@in_one_folder
@given(st.dictionaries(st.sampled_from([*keys_of_files, "wat"]), toml_values, max_size=5))
def test_whatever_toml_a_file_holds_it_gives_settings_or_faults(load, table):
    with contextlib.suppress(SettingsError):
        load("\n".join(f"{key} = {value}" for key, value in table.items()))


@in_one_folder
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_bytes_a_file_holds_it_gives_settings_or_faults(load, data):
    with contextlib.suppress(SettingsError):
        load(data)


# Written, and read again

lines = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8)
paths = st.text("ab/ ü\"'\\", min_size=1, max_size=8).map(lambda text: f"/{text}")
accounts = st.none() | st.sampled_from(["www", "1000", "a-b"])
modes = st.integers(0, 0o777)
durations = st.timedeltas(timedelta(microseconds=1), timedelta(days=3650))
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
commands = st.tuples(lines.filter(str.strip), words, words)


def file_settings(key):
    """A file of a target, by another path than its other files."""
    return st.builds(
        FileSettings,
        path=paths.map(lambda path: f"{path}{{domain}}.{key}"),
        owner=accounts,
        group=accounts,
        mode=st.none() | modes,
    )


files_settings = st.builds(
    FilesSettings,
    directory=paths,
    **{key: st.none() | file_settings(key) for key in FILE_KEYS},
    pkcs12_password_file=paths.map(Path),
    owner=accounts,
    group=accounts,
    mode=modes,
    key_mode=modes,
    layout=st.sampled_from(["plain", "versioned"]),
)
hook_settings = st.one_of(
    st.builds(HookSettings, command=commands, coalesce=st.booleans(), timeout=durations),
    st.builds(HookSettings, command=st.tuples(words.filter(str.strip)), shell=st.just(True)),
)
target_settings = st.builds(
    TargetSettings,
    name=lines.filter(str.isprintable).filter(str.strip),
    domains=st.lists(st.sampled_from(["*", "a.ts.net", "*.[ab].net"]), min_size=1).map(tuple),
    files=st.none() | files_settings,
    hook=st.none() | hook_settings,
    reload=st.none() | st.sampled_from(["nginx.service", "a@b\\x2d.service"]),
    signal=st.none()
    | st.builds(SignalSettings, pidfile=paths.map(Path), signal=st.sampled_from(["HUP", "USR1"])),
    probe=st.builds(
        ProbeSettings,
        host=st.none() | st.sampled_from(["box", "::1"]),
        port=st.integers(1, 65535),
        timeout=durations,
    ),
)


def several_targets(most):
    """Targets with names and files of their own."""
    found = st.lists(target_settings, max_size=most, unique_by=lambda target: target.name)
    return found.filter(lambda targets: not list(shared_paths(targets)))


@in_one_folder
@given(several_targets(3))
def test_targets_that_are_written_into_a_file_are_read_as_the_same(load, made):
    text = "\n".join(map(target_toml, made))
    assert load(text).targets == tuple(made)


@in_one_folder
@given(
    st.builds(
        Settings,
        targets=several_targets(2).map(tuple),
        on_failure=st.none() | hook_settings,
        guests=st.lists(st.sampled_from(["*", "a.ts.net"]), unique=True).map(tuple),
        retry_initial=st.just(timedelta(microseconds=1)),
        retry_max=durations,
        retry_factor=st.floats(1, 1e9),
        self_name=st.booleans(),
        only=st.just(()) | st.just(("*.ts.net", "b")),
        state=paths.map(Path),
    )
)
def test_all_that_is_shown_is_read_as_the_same_settings(load, settings):
    assert load(settings_toml(settings)) == settings


def test_what_is_shown_says_where_it_came_from(load, tmp_path):
    settings = load(
        'retry_max = "12h"\n[[targets]]\nprobe = true\n[on_failure]\ncommand=["a"]', self_name=True
    )
    text = settings_toml(settings)
    file = tmp_path / "config.toml"
    assert f'retry_max = "12h"  # retry_max in {file}\n' in text
    assert "self = true  # --self\n" in text
    assert 'scope = "all"  # default\n' in text
    assert "# only is not set\n" in text
    assert f"# targets[0] in {file}\n[[targets]]\n" in text
    assert f"# on_failure in {file}\n[on_failure]\n" in text


def test_the_content_of_a_password_file_is_not_shown_nor_is_it_read(load, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    text = f"""
    [[targets]]
    files = {{pkcs12 = "/{{domain}}.p12", pkcs12_password_file = "{password}"}}
    """
    shown = settings_toml(load(text))
    assert str(password) in shown
    assert "secret" not in shown


def test_a_file_that_cannot_be_read_is_told_even_where_nobody_named_it(tmp_path):
    (tmp_path / "config.toml").mkdir()
    config = read_config_file(None, {"CONFIGURATION_DIRECTORY": str(tmp_path)})
    assert config.faults == (f"{tmp_path / 'config.toml'}: Is a directory",)

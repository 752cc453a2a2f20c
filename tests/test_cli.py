"""The command, as a process of its own on the real clock, against the sandbox in another."""

import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from commands import COMMAND, SECONDS, Process, environment, request, run, wait_until
from house import open_house

from tscert_trio.cli.logs import _TextFormatter

NAME = "box.tail1234.ts.net"
SPARE = "spare.tail1234.ts.net"  # of the test whose order stays open at the CA


@pytest.fixture
def start(tmp_path):
    """Start commands; end them with the test."""
    started = []

    def start(*arguments, **variables):
        started.append(Process(*arguments, cwd=tmp_path, **variables))
        return started[-1]

    yield start
    for process in started:
        if process.child.poll() is None:
            process.child.kill()
        process.child.communicate()


@pytest.fixture(scope="module")
def tailscaled():
    """The path of a sandbox's socket; it runs for all tests of this module."""
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        path = Path(folder) / "s"
        process = Process(
            "sandbox", "--socket", path, "--cert-domain", NAME, "--cert-domain", SPARE, cwd=folder
        )
        try:
            process.wait_for_line("try, in another terminal")
            yield path
        finally:
            assert process.end()[0] == 0


def calls(tailscaled, endpoint):
    return [
        call for call in request(tailscaled, "GET", "/sandbox/v0/calls") if f"/{endpoint}" in call["path"]
    ]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_on_a_signal_at_once_with_status_0(start, tailscaled, signum):
    """It waits for nothing that may not come; the seconds are those of a loaded machine."""
    service = start("run", "--socket", tailscaled, NAME)
    service.wait_for_line(f"{NAME}: certificate valid until")
    status, seconds = service.end(signum)
    assert status == 0
    assert seconds < 15
    assert "Traceback" not in "".join(service.lines)


def test_without_a_command_the_service_runs(start, tailscaled):
    service = start(TSCERT_SOCKET=str(tailscaled), TSCERT_DOMAINS=NAME)
    service.wait_for_line(f"{NAME}: certificate valid")
    assert service.end()[0] == 0


def test_without_tailscaled_it_waits_and_ends_on_a_signal(start, tmp_path):
    service = start("--socket", tmp_path / "missing")
    assert "systemctl start tailscaled" in service.wait_for_line("no such socket")
    assert service.end()[0] == 0


def test_sighup_makes_it_look_at_its_configuration_at_once(start, tailscaled):
    def asked():
        return len(calls(tailscaled, "serve-config"))

    def is_settled():  # it asks at its start and when the bus has told the state, a second apart at least
        before = asked()
        time.sleep(1.5)
        return asked() == before

    service = start("--socket", tailscaled, "--poll-interval", "1h")
    service.wait_for_line("no name wants a certificate")
    wait_until(is_settled)
    before = asked()
    service.child.send_signal(signal.SIGHUP)
    service.wait_for_line("received SIGHUP")
    wait_until(lambda: asked() > before)
    assert service.end()[0] == 0


def test_sighup_makes_it_read_its_configuration_file_again(start, tailscaled, tmp_path):
    """A file that makes no sense changes nothing."""
    config = tmp_path / "config.toml"
    config.write_text(f'domains = ["{NAME}"]\n')
    status = tailscaled.parent / "st"
    service = start("--socket", tailscaled, "--config", config, "--status-socket", status)
    service.wait_for_line(f"{NAME}: certificate valid")
    config.write_text("domains = 5\n")
    service.child.send_signal(signal.SIGHUP)
    assert "domains" in service.wait_for_line("the configuration stays as it was")
    wait_until(lambda: "domains" in request(status, "GET", "/api/v1/status")["summary"])
    assert request(status, "GET", "/api/v1/status")["level"] == "warning"
    config.write_text(f'domains = ["{NAME}"]\n')
    service.child.send_signal(signal.SIGHUP)
    wait_until(lambda: request(status, "GET", "/api/v1/status")["level"] == "good")
    folder = tmp_path / "tls"
    config.write_text(f'domains = ["{NAME}"]\n[[targets]]\nfiles = {{directory = "{folder}"}}\n')
    service.child.send_signal(signal.SIGHUP)
    service.wait_for_line("the configuration has changed")
    service.wait_for_line(f"{NAME}: target {folder}: the certificate is written")
    assert (folder / f"{NAME}.crt").exists()
    assert service.end()[0] == 0


def test_systemd_is_told_ready_status_and_stopping(start, tailscaled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("notify")
        systemd.settimeout(SECONDS)
        service = start(
            "run",
            "--socket",
            tailscaled,
            NAME,
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="300000",
        )
        received = ""
        while not ("READY=1" in received and "STATUS=The name is well." in received):
            received += systemd.recv(4096).decode() + "\n"
        assert "WATCHDOG=1" in received
        assert service.end()[0] == 0
        systemd.settimeout(0)
        while "STOPPING=1" not in received:
            received += systemd.recv(4096).decode()


def test_log_lines_can_be_json(start, tailscaled):
    service = start("run", "--socket", tailscaled, "--log-format", "json", NAME)
    record = json.loads(service.wait_for_line("certificate valid until"))
    assert record["level"] == "info"
    assert record["domain"] == NAME
    assert record["message"].startswith(f"{NAME}: certificate valid until")
    assert record["logger"] == "tscert_trio.loop_log"
    assert record["valid_until"].endswith("+00:00")
    assert "error" not in record
    assert record["time"].endswith("+00:00")
    assert service.end()[0] == 0


def test_the_demonstration_shows_the_main_job_and_ends(tmp_path):
    result = run("run", "--sandbox", cwd=tmp_path)
    assert result.returncode == 0
    log = result.stderr
    assert "shop.tail1234.ts.net: certificate valid" in log
    assert "api.tail1234.ts.net: request failed (retry 1): SetDNS" in log
    assert log.index("api.tail1234.ts.net: request failed") < log.index(
        "api.tail1234.ts.net: certificate valid"
    )
    assert log.index("node may have certificates") < log.index("wiki.tail1234.ts.net: certificate valid")
    assert "keeping certificates for api.tail1234.ts.net, wiki.tail1234.ts.net\n" in log
    assert "shop.tail1234.ts.net: target web server: the certificate is seen served" in log
    assert "    tscert-trio run --self    and keep a certificate for the node's own name\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--wat"], 2, "unrecognized arguments: --wat; see"),
        (["frobnicate"], 2, "invalid choice: 'frobnicate'"),
        (["--retry-max", "5 parsecs"], 2, "--retry-max: '5 parsecs' is no duration; write"),
        (["run", "localhost"], 2, "DOMAIN: 'localhost' is no DNS name"),
        (["--socket", "file"], 1, "tailscaled's socket file: is no socket"),
        (["--socket"], 2, "expected one argument"),
        (["cert", "a b.ts.net", "--socket", "s"], 2, "'a b.ts.net' is no DNS name"),
        (["cert", "a.ts.net", "--socket", "file"], 1, "tailscaled's socket file: is no socket"),
        (["cert", "a.ts.net", "--socket", "missing"], 1, "no such socket. tailscaled is not running"),
        (["cert", "box", "--socket", "s"], 2, "'box' is no whole DNS name, and cert wants one: such as"),
        (["cert", "a.ts.net", "--force"], 2, "tscert-trio renew a.ts.net --force"),
        (["cert", "a.ts.net", "--min-validity", "1y"], 2, "--min-validity: '1y' is no duration"),
        (["cert", "a.ts.net", "--cert-file", "x", "--key-file", "x"], 2, "name the same file"),
        (["cert", "a.ts.net", "--cert-file", "/dev/null"], 1, "/dev/null: is no regular file"),
        (["sandbox", "--socket", "missing/s"], 1, "cannot listen on missing/s: No such file or directory"),
        (["sandbox", "--socket", "file"], 1, "cannot listen on file"),
        (["cert", "a.ts.net", "--cert-file", "nowhere/x"], 1, "nowhere/x: No such file or directory"),
        (["sandbox", "--tailscaled", "1.2.3"], 2, "--tailscaled: '1.2.3' is none of 1.86.5"),
        (["run", "--config", "missing"], 2, "missing: No such file or directory"),
        (["run", "--config", "broken.toml"], 2, "broken.toml: is no TOML: "),
        (["run", "--hook", "a 'b"], 2, '--hook: "a \'b" is no command: no closing quotation'),
        (["run", "--probe", NAME], 2, "want host:port, or nothing for the node's own port 443"),
        (["config"], 2, "the following arguments are required: COMMAND"),
        (["config", "check", "--config", "missing"], 2, "missing: No such file or directory"),
        (["config", "show", "--scope", "most"], 2, "--scope: 'most' is none of services, all"),
        (["sandbox", "--validity", "long"], 2, "--validity: 'long' is no duration"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, arguments, status, message):
    (tmp_path / "file").touch()
    (tmp_path / "broken.toml").write_text("self = yes")
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == status
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tscert-trio")
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["cert", "a.ts.net", "--socket", "s\x1b[2J"], 1),
        (["run", "a.ts.net", "--config", "c\x9b2J"], 2),
        (["run", "--wat\x1b[2J"], 2),
        (["status", "--check", "--wat\x1b[2J"], 3),
    ],
)
def test_nothing_in_what_is_told_moves_the_cursor_of_a_terminal(tmp_path, arguments, status):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == status
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.isprintable()
    assert "2J" in line


def test_nothing_in_the_log_moves_the_cursor_of_a_terminal(start, tmp_path):
    service = start("--socket", tmp_path / "s\x1b[2J")
    line = service.wait_for_line("no such socket").rstrip("\n")
    assert line.isprintable()
    assert "s\N{REPLACEMENT CHARACTER}[2J" in line
    assert service.end()[0] == 0


def test_a_traceback_in_the_log_keeps_its_lines_and_moves_no_cursor():
    error = ValueError("no\n\x1b[2J")
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "a\nbug", (), (ValueError, error, None))
    assert _TextFormatter("%(levelname)s %(message)s").format(record).splitlines() == [
        "ERROR a bug",
        "ValueError: no",
        "\N{REPLACEMENT CHARACTER}[2J",
    ]


def test_a_second_sandbox_leaves_the_first_ones_socket_alone(tmp_path, tailscaled):
    result = run("sandbox", "--socket", tailscaled, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"cannot listen on {tailscaled}: Address already in use" in line
    assert tailscaled.is_socket()
    assert request(tailscaled, "GET", "/sandbox/v0/calls") is not None


def test_all_faults_of_the_settings_are_told_a_line_each(tmp_path):
    result = run("--scope", "most", "--retry-factor", "0", cwd=tmp_path, TSCERT_LOG_LEVEL="loud")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 3


def test_the_service_runs_with_the_settings_of_a_file(start, tailscaled, tmp_path):
    (tmp_path / "config.toml").write_text(
        f"""
        socket = "{tailscaled}"
        domains = ["{NAME}"]
        log_format = "json"
        """
    )
    service = start("run", TSCERT_CONFIG="", CONFIGURATION_DIRECTORY=str(tmp_path))
    assert json.loads(service.wait_for_line(f"{NAME}: certificate valid"))["domain"] == NAME
    assert service.end()[0] == 0


def test_config_check_tells_that_a_file_is_good_or_all_that_is_wrong_with_it(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[[targets]]\nreload = "nginx.service"')
    result = run("config", "check", "--config", file, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"{file}: good, 1 target\n")
    file.write_text('slef = true\n[[targets]]\nreload = "a b"\nfiles = {mode = 3}')
    result = run("config", "check", cwd=tmp_path, TSCERT_CONFIG=str(file), TSCERT_SCOPE="most")
    assert (result.returncode, result.stdout) == (2, "")
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "TSCERT_SCOPE",
        f"slef in {file}",
        f"targets[0].files.mode in {file}",
        f"targets[0].files in {file}",
        f"targets[0].reload in {file}",
    ]


def test_config_show_writes_a_file_that_says_the_same(tmp_path):
    arguments = ["--self", "--files", "/etc/ssl/tailnet", "--reload", "nginx.service", "--probe"]
    shown = run("config", "show", *arguments, cwd=tmp_path).stdout
    assert "self = true  # --self\n" in shown
    assert "# --files and --reload and --probe\n[[targets]]\n" in shown
    (tmp_path / "config.toml").write_text(shown)
    again = run("config", "show", "--config", "config.toml", cwd=tmp_path).stdout
    settings = [re.sub(" *#.*", "", text).strip() for text in (shown, again)]
    assert settings[0] == settings[1]


def test_a_path_that_is_no_utf_8_is_refused_in_a_line_that_can_be_printed(tmp_path):
    """Answers and journal could not hold it."""
    result = run("config", "show", "--socket", os.fsdecode(b"/\xff"), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--socket: '/\\udcff' is no UTF-8" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reader_that_has_had_enough_is_no_error_to_show(tmp_path, tailscaled):
    with subprocess.Popen(
        [*COMMAND, "cert", NAME, "--socket", str(tailscaled), "--cert-file", "-"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1


WRITES = [
    (["--version"], 1),
    (["--help"], 1),
    (["config", "show"], 1),
    (["status", "--check"], 3),
    (["status", "--check", "--wat"], 3),
]
"""Commands that write a little to standard output, and their exit status where that cannot be."""


def run_into(output, arguments, cwd, *, unbuffered=""):
    """Run a command with this as its standard output; return its exit status, and what it says of it."""
    result = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.mark.parametrize(("arguments", "status"), WRITES)
def test_what_fits_a_buffer_and_has_no_reader_has_the_documented_status(tmp_path, arguments, status):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run_into(writer, arguments, tmp_path) == (status, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize(("arguments", "status"), WRITES)
def test_output_that_a_full_disk_does_not_take_is_told_in_one_line(tmp_path, arguments, status):
    with Path("/dev/full").open("w") as full:
        told = run_into(full, arguments, tmp_path)
    assert told == (status, "tscert-trio: cannot write standard output: No space left on device\n")


def test_output_without_a_buffer_fails_in_the_same_way(tmp_path):
    with Path("/dev/full").open("w") as full:
        told = run_into(full, ["config", "show"], tmp_path, unbuffered="1")
    assert told == (1, "tscert-trio: cannot write standard output: No space left on device\n")


def test_who_closed_standard_output_before_is_told_by_the_exit_status(tmp_path):
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "status", "--check", "--wat"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (3, "")


def test_an_order_that_fails_is_told_with_how_long_the_present_certificate_is_good(tmp_path, tailscaled):
    """Of a name of its own: until such an order is finished, the CA lets no other replace the certificate."""

    def ask(*arguments):
        return run("cert", SPARE, "--socket", tailscaled, "--cert-file", "c.pem", *arguments, cwd=tmp_path)

    assert ask().returncode == 0
    fault = {"make": "control", "text": "the DNS provider is away", "domain": SPARE, "count": 1}
    request(tailscaled, "POST", "/sandbox/v0/faults", fault)
    result = ask("--min-validity", "100d", "--force")
    assert result.returncode == 1
    failure, present = result.stderr.splitlines()
    assert "the DNS provider is away" in failure
    assert re.match(r"tscert-trio: the present certificate is valid until \d{4}-", present)
    assert "without --min-validity" in present


def test_cert_suggests_the_whole_name_where_the_service_knows_it():
    with open_house("box") as house:
        house.start(NAME)
        alive = house.run("cert", "box", "--socket", house.tailscaled)
        house.kill()
        dead = house.run("cert", "box", "--socket", house.tailscaled)
    told = f"tscert-trio: 'box' is no whole DNS name, and cert wants one: is it {NAME}?\n"
    assert (alive.returncode, alive.stderr) == (dead.returncode, dead.stderr) == (2, told)


def test_version_and_help_are_told(tmp_path):
    assert re.fullmatch(r"tscert-trio \d+\.\d+\S*\n", run("--version", cwd=tmp_path).stdout)
    text = run("--help", cwd=tmp_path).stdout
    assert all(command in text for command in ("run", "cert", "sandbox"))
    assert "0 to 3, as Nagios has them" in text
    assert "TSCERT_RETRY_MAX" in run("run", "--help", cwd=tmp_path).stdout
    assert "[TSCERT_SOCKET, TS_SOCKET]" in " ".join(run("cert", "--help", cwd=tmp_path).stdout.split())


def test_cert_writes_both_files_like_tailscale_cert(tmp_path, tailscaled):
    result = run("cert", NAME, "--socket", tailscaled, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    cert, key = tmp_path / f"{NAME}.crt", tmp_path / f"{NAME}.key"
    assert cert.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE KEY" not in cert.read_bytes()
    assert b"PRIVATE KEY" in key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(cert.stat().st_mode) == 0o644
    assert f"{NAME}: valid until" in result.stderr
    assert "PRIVATE" not in result.stdout + result.stderr


def test_cert_writes_to_standard_output_and_asks_for_the_key_only_when_it_is_wanted(tmp_path, tailscaled):
    result = run("cert", NAME, "--socket", tailscaled, "--cert-file", "-", cwd=tmp_path)
    assert result.stdout.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in result.stdout
    assert calls(tailscaled, "cert/")[-1]["query"]["type"] == "crt"
    result = run("cert", NAME, "--socket", tailscaled, "--cert-file", "-", "--key-file", "-", cwd=tmp_path)
    assert "PRIVATE KEY" in result.stdout
    assert "BEGIN CERTIFICATE" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_cert_says_what_went_wrong_and_what_to_do(tmp_path, tailscaled):
    result = run("cert", "other.tail1234.ts.net", "--socket", tailscaled, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert 'invalid domain "other.tail1234.ts.net"' in line
    assert "enable HTTPS" in line
    assert list(tmp_path.iterdir()) == []


def test_cert_asks_for_nothing_when_its_files_could_not_be_written(tmp_path, tailscaled):
    before = len(calls(tailscaled, "cert/"))
    result = run("cert", NAME, "--socket", tailscaled, "--key-file", "no/key.pem", cwd=tmp_path)
    assert result.returncode == 1
    assert len(calls(tailscaled, "cert/")) == before


def test_a_min_validity_above_half_of_the_life_needs_force(tmp_path, tailscaled):
    def ask(*arguments):
        return run("cert", NAME, "--socket", tailscaled, "--cert-file", "c.pem", *arguments, cwd=tmp_path)

    def orders():
        return len(request(tailscaled, "GET", "/sandbox/v0/orders"))

    assert ask("--min-validity", "30d").returncode == 0
    before = orders()
    refused = ask("--min-validity", "60d")
    assert (refused.returncode, orders()) == (2, before)
    assert "above half of the certificate's life of 90d, so" in refused.stderr
    assert "add --force" in refused.stderr
    assert ask("--min-validity", "80d", "--force").returncode == 0
    assert orders() == before
    assert ask("--min-validity", "95d", "--force").returncode == 0
    assert orders() == before + 1

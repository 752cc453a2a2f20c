"""The command as a process of its own, and how to speak with it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import trio
from raw_client import ask

__all__ = ["COMMAND", "SECONDS", "Process", "environment", "request", "run", "wait_until"]

COMMAND = [sys.executable, "-W", "error", "-m", "tscert_trio"]

SECONDS = 60
"""How long something may take that takes a second on a quiet machine."""


def request(path, method, target, body=None):
    """Return the JSON of an answer of the sandbox's administration."""
    answer = trio.run(
        partial(ask, path, target, method, body=b"" if body is None else json.dumps(body).encode())
    )
    assert answer.status == 200, answer
    return answer.json


def environment(**variables):
    """The environment without anything that would be taken for a setting."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("TS", "POD_NAME", "NOTIFY"))
    }
    quiet = {"TSCERT_STATE": ":memory:", "TSCERT_CONFIG": "/dev/null", "TSCERT_STATUS_SOCKET": "none"}
    return kept | quiet | variables


def run(*arguments, cwd, **variables):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


class Process:
    """A running command whose standard error is read line by line."""

    def __init__(self, *arguments, cwd, command=COMMAND, **variables):
        self.child = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=cwd,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []

    def wait_for_line(self, pattern):
        for line in self.child.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"ended without {pattern!r}: {self.lines}")

    def end(self, signum=signal.SIGTERM):
        """Return the exit status and the seconds it took."""
        began = time.monotonic()
        self.child.send_signal(signum)
        self.lines += self.child.communicate(timeout=SECONDS)[0].splitlines()
        return self.child.returncode, time.monotonic() - began


def wait_until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)

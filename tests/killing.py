"""A process that is killed between two system calls, played by one that goes on to look at what is left."""

import os
from contextlib import contextmanager

import pytest

STEPS = ("open", "mkdir", "fchmod", "fchown", "write", "fsync", "replace", "symlink", "unlink", "rmdir")


class KilledError(BaseException):
    """The process is no more: nothing that cleans up has an effect."""


class Killer:
    """Lets some system calls through, and none after them. What the kernel closes at a kill is closed."""

    def __init__(self, calls_left):
        self.calls_left = calls_left

    def wrap(self, call):
        def wrapped(*args, **kwargs):
            if self.calls_left <= 0:
                raise KilledError
            self.calls_left -= 1
            return call(*args, **kwargs)

        return wrapped


@contextmanager
def killing_after(calls):
    """Let so many system calls through that change something; the next one kills."""
    killer = Killer(calls)
    with pytest.MonkeyPatch.context() as patch:
        for step in STEPS:
            patch.setattr(os, step, killer.wrap(getattr(os, step)))
        yield


def each_kill(act):
    """Act again and again, killed a call later each time; yield after each kill, end when it is done."""
    for calls in range(500):
        try:
            with killing_after(calls):
                act()
        except KilledError:
            yield calls
        else:
            return
    raise AssertionError("it never ends")

"""The targets: may their files be written, and can be told who is to be told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..errors import HookError, TargetError, with_output
from ..planning import wanted_names
from ..serve_config import DomainFilter
from ..target_settings import FILE_KEYS, file_templates
from ..targets import check_program, check_signal_target, look_writable, unit_state
from ..targets.access import Access
from ..targets.paths import file_name_of, is_versioned
from ..targets.reading import read_regular
from .finding import bad, good, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..survey import Survey
    from ..target_settings import (
        FilesSettings,
        HookSettings,
        ProbeSettings,
        SignalSettings,
        TargetSettings,
    )
    from .finding import Finding

__all__ = ["check_targets"]

_CONNECT_SECONDS = 3
_EXAMPLE = "a-name"  # where no name is known


async def check_targets(survey: Survey) -> list[Finding]:
    """See that each target could do each of its steps, and the alert hook be run."""
    found: dict[str, list[Finding]] = {}

    async def look(target: TargetSettings) -> None:
        check = f"target {target.name}"
        troubles = [
            *_files(check, target, survey),
            *_hook(check, target.hook),
            *_signal(check, target.signal),
        ]
        troubles += await _reload(check, target.reload)
        troubles += await _probe(check, target.probe, survey)
        found[target.name] = troubles or [good(check, "everything that it needs is there")]

    async with trio.open_nursery() as nursery:
        for target in survey.settings.targets:
            nursery.start_soon(look, target)
    findings = [finding for target in survey.settings.targets for finding in found[target.name]]
    if survey.settings.on_failure is not None:
        fine = good("on_failure", "its command can be run")
        findings += [*_hook("on_failure", survey.settings.on_failure)] or [fine]
    return findings


def _files(check: str, target: TargetSettings, survey: Survey) -> Iterator[Finding]:
    files = target.files
    if files is None:
        return
    lets_through = DomainFilter(only=target.domains)
    names = [name.domain for name in wanted_names(survey) if lets_through(name.domain)] or [_EXAMPLE]
    told: set[str] = set()
    for path in _paths(files, names):
        if not path.is_absolute() and "relative" not in told:
            told.add("relative")
            text = f"{path} is taken from {Path.cwd()}, where this runs; the service may run elsewhere"
            yield warning(check, text, "give the full path")
        try:
            look_writable(path)
        except TargetError as exc:
            what, _, remedy = str(exc).partition("; ")
            if (folder := str(path.parent)) not in told:  # once for a thousand names
                told.add(folder)
                yield bad(check, what, remedy or None)
    yield from _accounts(check, files)
    if files.pkcs12_password_file is not None:
        try:
            read_regular(files.pkcs12_password_file, 1)
        except OSError as exc:
            text = f"the password file {files.pkcs12_password_file} cannot be read: {exc.strerror}"
            yield bad(check, text, "make it, readable for the service's user")


def _paths(files: FilesSettings, names: list[str]) -> Iterator[Path]:
    templates = file_templates(files)
    if is_versioned(files):  # its link is swapped, not written
        templates[0] = f"{files.directory}/live/{_EXAMPLE}"
    for name in names:
        try:
            file_name = name if name == _EXAMPLE else file_name_of(name)
        except TargetError:  # no DNS name, which another check has told
            continue
        for template in templates:
            yield Path(template.replace("{domain}", file_name))


def _accounts(check: str, files: FilesSettings) -> Iterator[Finding]:
    """Tell owners and groups that are not there, or that files cannot be given to."""
    given = [files, *(file for key in FILE_KEYS if (file := getattr(files, key)) is not None)]
    for owner, group in dict.fromkeys((each.owner, each.group) for each in given):
        try:
            access = Access.find(mode=0, owner=owner, group=group)
        except TargetError as exc:
            what, _, remedy = str(exc).partition("; ")
            yield bad(check, what, remedy)
            continue
        me = os.geteuid()
        if me not in {0, me if access.user_id is None else access.user_id}:
            yield warning(check, f"only root can give files to {owner}", "run the service as root, or as it")
        elif me != 0 and access.group_id not in {None, os.getegid(), *os.getgroups()}:
            text = f"this user is not in the group {group}, so it cannot give files to that"
            yield warning(check, text, f"sudo usermod --append --groups {group} USER, or run it as root")


def _hook(check: str, hook: HookSettings | None) -> Iterator[Finding]:
    if hook is None:
        return
    program = "/bin/sh" if hook.shell else hook.command[0]
    try:
        check_program(program)
    except TargetError as exc:
        what, _, remedy = str(exc).partition(": ")
        yield bad(check, f"its hook {what}", remedy)
        return
    if os.sep in program and not Path(program).is_absolute():
        text = f"its hook {program} is taken from {Path.cwd()}, where this runs"
        yield warning(check, text, "give the full path")


async def _reload(check: str, unit: str | None) -> list[Finding]:
    if unit is None:
        return []
    try:
        load_state, active_state = await unit_state(unit)
    except TargetError as exc:
        what, _, remedy = str(exc).rpartition("; ")
        return [bad(check, with_output(what, exc.output if isinstance(exc, HookError) else None), remedy)]
    if load_state != "loaded":
        return [
            bad(check, f"systemd has no unit {unit} ({load_state})", f"systemctl list-units '{unit[:3]}*'")
        ]
    if active_state not in {"active", "reloading"}:
        return [warning(check, f"{unit} is {active_state}: nothing is reloaded", f"systemctl start {unit}")]
    return []


def _signal(check: str, settings: SignalSettings | None) -> Iterator[Finding]:
    if settings is None:
        return
    try:
        check_signal_target(settings.pidfile, settings.signal)
    except TargetError as exc:
        what, _, remedy = str(exc).partition("; ")
        yield bad(check, what, remedy)


async def _probe(check: str, settings: ProbeSettings | None, survey: Survey) -> list[Finding]:
    if settings is None:
        return []
    host = settings.host
    if host is None:
        if survey.status is None or not survey.status.addresses:
            return []  # which another check has told
        host = survey.status.addresses[0]
    host = host.removeprefix("[").removesuffix("]")
    place = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    why = f"no answer within {_CONNECT_SECONDS} s"
    with trio.move_on_after(_CONNECT_SECONDS):
        try:
            stream = await trio.open_tcp_stream(host, settings.port)
        except OSError as exc:
            why = str(exc)
        else:
            await trio.aclose_forcefully(stream)
            return []
    text = f"nothing listens at {place}, where its probe looks ({why})"
    return [warning(check, text, "start the server, or correct the place of the probe")]

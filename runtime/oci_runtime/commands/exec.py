"""`exec [OPTIONS] ID PROGRAM …`, or `exec --process FILE ID`."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from runtime.errors import BadContent, ContainerError
from runtime.kernel import capabilities
from runtime.oci.runtime_config import CapabilitySets, Process, RuntimeConfig, User, process_from_json
from runtime.oci_runtime import record
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError
from runtime.oci_runtime.creation import write_pid_file
from runtime.oci_runtime.process.exec_process import ExecOptions, exec_in

_OPTIONS = (
    Option("process", "p", True, "file with `process` of the runtime-spec"),
    Option("tty", "t", False, "give it a terminal"),
    Option("user", "u", True, "UID[:GID]"),
    Option("additional-gids", "g", True, "one more group"),
    Option("env", "e", True, "NAME=VALUE"),
    Option("cwd", "", True, "its working directory"),
    Option("cap", "c", True, "one more capability"),
    Option("no-new-privs", "", False, "exec can't raise its privileges"),
    Option("detach", "d", False, "don't wait for its end"),
    Option("pid-file", "", True, "file that gets its number"),
    Option("console-socket", "", True, "socket that gets the terminal"),
    Option("preserve-fds", "", True, "so many descriptors from 3 on stay open in it"),
    Option("cgroup", "", True, "below the container's cgroup"),
    Option("apparmor", "", True, "its AppArmor profile; without: the container's"),
    Option("process-label", "", True, "its SELinux label; without: the container's"),
    Option("ignore-paused", "", False, "don't refuse a paused container"),
    Option("no-subreaper", "", False, "taken and not used"),
)


def _exec(given: Parsed, context: Context) -> int:
    if not given.words:
        raise UsageError("the id of one container is needed")
    refused = (record.STOPPED, record.CREATING, *(() if given.flag("ignore-paused") else (record.PAUSED,)))
    container = context.container(given.words[0], not_in=refused)
    config = container.config()
    process = _process(given, config)
    console = given.value("console-socket")
    pid_file = given.value("pid-file")
    ours: socket.socket | None = None
    connection: socket.socket | None = None
    if process.terminal:
        from runtime.oci_runtime.process import terminal

        if console:
            connection = terminal.connect_console(Path(console).absolute())
        else:
            ours, connection = socket.socketpair()
    pid = exec_in(container, config, process, ExecOptions(connection, given.number("preserve-fds"), given.value("cgroup")))
    if pid_file:
        write_pid_file(Path(pid_file).absolute(), pid)
    if ours is not None:
        _show_terminal(ours)
    if given.flag("detach"):
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _show_terminal(console: socket.socket) -> None:
    from runtime.oci_runtime.process.terminal import Relay, receive_master

    with Relay(receive_master(console)) as relay:
        while relay.step(0.5):
            continue


def _process(given: Parsed, config: RuntimeConfig) -> Process:
    """The process to start; labels that it says nothing of are the container's."""
    process = _read_process(given, config)
    of_container = config.process or process
    return process._replace(
        apparmor_profile=given.value("apparmor") or process.apparmor_profile or of_container.apparmor_profile,
        selinux_label=given.value("process-label") or process.selinux_label or of_container.selinux_label,
    )


def _read_process(given: Parsed, config: RuntimeConfig) -> Process:
    file = given.value("process")
    if file is not None:
        try:
            return process_from_json(json.loads(Path(file).read_text()))
        except (OSError, ValueError) as error:
            raise BadContent(f"cannot read the process in `{file}`: {error}") from error
    if len(given.words) < 2:
        raise UsageError("the program to run is missing")
    process = config.process
    if process is None:
        raise ContainerError("the container's configuration has no `process`")
    process = process._replace(
        args=tuple(given.words[1:]),
        terminal=given.flag("tty"),
        env=(*process.env, *given.values("env")),
        cwd=given.value("cwd") or process.cwd,
        no_new_privileges=process.no_new_privileges or given.flag("no-new-privs"),
        user=_user(given, process.user),
    )
    added = tuple(given.values("cap"))
    for name in added:
        if name not in capabilities.NUMBERS:
            raise UsageError(f"no such capability: `{name}`")
    if added:
        sets = process.capabilities or CapabilitySets()
        process = process._replace(
            capabilities=CapabilitySets(
                (*sets.bounding, *added), (*sets.effective, *added), sets.inheritable, (*sets.permitted, *added), sets.ambient
            )
        )
    return process


def _user(given: Parsed, user: User) -> User:
    text = given.value("user")
    groups = [number for text_of in given.values("additional-gids") for number in text_of.split(",")]
    if any(not number.isdigit() for number in groups):
        raise UsageError("`--additional-gids` takes numbers")
    if text is not None:
        uid, colon, gid = text.partition(":")
        if not uid.isdigit() or (colon and not gid.isdigit()):
            raise UsageError(f"`--user` takes UID[:GID] in numbers: `{text}`")
        user = user._replace(uid=int(uid), gid=int(gid) if colon else user.gid)
    return user._replace(additional_gids=(*user.additional_gids, *map(int, groups)))


COMMANDS = {"exec": Command("[OPTIONS] ID PROGRAM …", _OPTIONS, _exec)}

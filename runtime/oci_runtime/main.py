"""`python -m runtime COMMAND …`: an OCI runtime's command line (opencontainers/runtime-spec, runtime.md; options as runc's).

What a command takes and does is declared in `commands/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError, parse
from runtime.oci_runtime.diagnostics import Diagnostics, open_diagnostics
from runtime.oci_runtime.record import OCI_VERSION, default_root

COMMANDS = {
    "create": ("create", "make a container of a bundle; its program waits for `start`"),
    "start": ("control", "run the program of a created container"),
    "run": ("create", "create and start, and wait for the end unless `--detach`"),
    "state": ("show", "print the state of a container as JSON"),
    "kill": ("control", "send a signal to a container's process"),
    "delete": ("control", "remove a container that has ended"),
    "exec": ("exec", "run another program in a container"),
    "list": ("show", "list the containers below `--root`"),
    "ps": ("show", "list the processes of a container"),
    "pause": ("control", "stop every process of a container where it stands"),
    "resume": ("control", "let a paused container go on"),
    "update": ("update", "change the limits of a container"),
    "events": ("events", "print what a container uses, as JSON, until it has ended"),
    "features": ("features", "print what this runtime knows, as JSON"),
    "spec": ("spec", "write a configuration to begin with"),
}
"""Word → its file in `commands/`, imported when it is asked for, and what it does."""

GLOBAL_OPTIONS = (
    Option("root", "", True, "directory of the records"),
    Option("log", "", True, "file that gets errors and warnings, too"),
    Option("log-format", "", True, "text or json"),
    Option("log-level", "", True, "taken and not used"),
    Option("debug", "", False, "say more"),
    Option("systemd-cgroup", "", False, "`cgroupsPath` is SLICE:PREFIX:NAME"),
    Option("cgroup-manager", "", True, "cgroupfs, systemd or disabled"),
    Option("rootless", "", True, "taken and not used"),
    Option("criu", "", True, "taken and not used"),
    Option("version", "v", False, "print the version"),
    Option("help", "h", False, "print this"),
)


def main(arguments: Sequence[str], *, program: str = "python -m runtime") -> int:
    """Run one command; its exit code. *program* is what to call it in usages."""
    diagnostics = Diagnostics()
    try:
        given = parse(arguments, GLOBAL_OPTIONS, stop_at_word=True)
        if given.flag("version"):
            print(f"launch oci\nspec: {OCI_VERSION}")
            return 0
        if given.flag("help") or not given.words or given.words[0] == "help":
            print(_usage(program))
            return 0 if given.words or given.flag("help") else 2
        name, *rest = given.words
        if name not in COMMANDS:
            raise UsageError(f"unknown command `{name}`", hint=f"one of {', '.join(COMMANDS)}")
        diagnostics = open_diagnostics(given.value("log"), given.value("log-format"), debugging=given.flag("debug"))
        diagnostics.debug(f"command `{name}`")
        return _run(name, rest, _context(given, diagnostics), program)
    except RuntimeFailure as error:
        diagnostics.error(error.message, error.hint)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        diagnostics.error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _context(given: Parsed, diagnostics: Diagnostics) -> Context:
    manager = given.value("cgroup-manager") or ("systemd" if given.flag("systemd-cgroup") else "cgroupfs")
    if manager not in ("cgroupfs", "systemd", "disabled"):
        raise UsageError(f"unknown cgroup manager `{manager}`", hint="cgroupfs, systemd or disabled")
    root = given.value("root")
    return Context(Path(root) if root else default_root(), diagnostics, manager != "disabled", manager == "systemd")


def _run(name: str, arguments: list[str], context: Context, program: str) -> int:
    file, _help = COMMANDS[name]
    command: Command = import_module(f"runtime.oci_runtime.commands.{file}").COMMANDS[name]
    options = (*command.options, Option("help", "h", False, "print this"))
    given = parse(arguments, options, stop_at_word=name == "exec")
    if given.flag("help"):
        print(_command_usage(program, name, command.synopsis, options))
        return 0
    return command.run(given, context)


def _usage(program: str) -> str:
    commands = "\n".join(f"  {name:<10} {text}" for name, (_file, text) in COMMANDS.items())
    return f"usage: {program} [OPTIONS] COMMAND …\n\ncommands:\n{commands}\n\noptions:\n{_list_options(GLOBAL_OPTIONS)}"


def _command_usage(program: str, name: str, synopsis: str, options: Sequence[Option]) -> str:
    return f"usage: {program} {name} {synopsis}\n\n{COMMANDS[name][1]}\n\noptions:\n{_list_options(options)}"


def _list_options(options: Sequence[Option]) -> str:
    lines = []
    for option in options:
        names = (f"-{option.short}, " if option.short else "    ") + f"--{option.name}" + (" VALUE" if option.takes_value else "")
        lines.append(f"  {names:<30} {option.help}")
    return "\n".join(lines)

"""Entry point of `launch`: find the command word, run its file; a failure is shown once (`failures.py`).

Commands are one file each in `launcher.cli.commands`; a file is imported only when its command is typed. No command word means
`run`: `launch experiment=digits`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from launcher.cli.failures import exit_code_of
from launcher.errors import ConfigError

COMMANDS = {
    "run": "run an experiment (the default: `launch experiment=digits`)",
    "plan": "show what would be built and run; nothing is touched",
    "build": "build the image only",
    "push": "push an image to a registry; what it has already is not sent again",
    "lock": "write the requirement lock next to the experiment",
    "list": "the experiments that can be launched",
    "runs": "the runs so far; `runs show RUN`",
    "ps": "the runs that have not ended",
    "logs": "a run's output; -f follows it",
    "attach": "watch a running run as if it had been started here",
    "exec": "run a program in the container of a run",
    "shell": "a shell in the container of a run, or in an experiment's environment",
    "top": "the processes of a run",
    "stats": "what runs use now: processor, memory, processes, GPUs",
    "gpus": "the GPUs of this machine: health, processes, leases, links; `--watch`",
    "pause": "let a run stand still; `unpause` lets it go on",
    "unpause": "let a paused run go on",
    "stop": "ask a run to end (SIGTERM, then SIGKILL after its grace)",
    "kill": "end a run now",
    "wait": "wait for a run to end and exit with its code",
    "rerun": "run a recorded run again and compare",
    "resume": "go on with a run that was stopped or lost its host, or with a sweep",
    "sweep": "what a sweep found: `show`, `best`",
    "outputs": "print the directory of a run's outputs",
    "sync": "send what MLflow missed",
    "pull": "fetch an image from its registry",
    "load": "take images out of a file or directory into the store",
    "save": "write an image to a file or directory that docker, podman and skopeo read",
    "login": "keep the credentials of a registry; `logout` forgets them",
    "logout": "forget the credentials of a registry",
    "images": "the images in the store: `show`, `history`, `sbom` and more",
    "diff": "what differs between two runs, or two images",
    "plot": "draw a metric of runs, in the terminal or as a picture",
    "verify": "build an image again from its recipe and compare the two",
    "gc": "free disk space: remove what nothing needs any more",
    "store": "look after the store: is it whole (`check`), what can go (`gc`)",
    "oci": "be an OCI runtime: run bundles by runc's command line",
    "doctor": "what this machine can do, and what to do about the rest",
    "ui": "the MLflow UI on loopback",
    "init": "make a project of your own",
    "completion": "print the completion script for a shell",
}


def main() -> None:
    """Console script `launch`."""
    _have_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _have_standard_streams() -> None:
    """Started with a closed stdin, stdout or stderr: the next file that is opened would get its number, and our words with it."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null_fd = os.open(os.devnull, os.O_RDWR)
            if null_fd == fd:
                os.set_inheritable(fd, True)
            else:
                os.dup2(null_fd, fd)
                os.close(null_fd)
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", closefd=False))


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; prints failures, never a traceback for what a user can cause."""
    if arguments and arguments[0] in ("-h", "--help", "help"):
        from launcher.cli.help import print_help

        return print_help(COMMANDS)
    if arguments and arguments[0] == "--version":
        from launcher.cli.help import print_version

        return print_version()
    word, rest = ("run", list(arguments))
    if arguments and arguments[0] in COMMANDS:
        word, rest = arguments[0], list(arguments[1:])
    return exit_code_of(lambda: _done(word, rest, typed=arguments))


def _done(word: str, rest: Sequence[str], *, typed: Sequence[str]) -> int:
    _refuse_a_stray_word(typed)
    code: int = importlib.import_module(f"launcher.cli.commands.{word}").main(rest)
    sys.stdout.flush()
    return code


def _refuse_a_stray_word(arguments: Sequence[str]) -> None:
    """`launch digits` or `launch rnu …`: neither a command nor an override."""
    if not arguments or arguments[0] in COMMANDS or arguments[0].startswith("-") or "=" in arguments[0]:
        return
    word = arguments[0]
    if word.startswith(("~", "+")):
        return
    raise ConfigError(f"unknown command `{word}`", hint=_what_was_meant(word))


def _what_was_meant(word: str) -> str:
    from pathlib import Path

    from launcher.config.project import list_experiments
    from runtime.suggestions import closest

    experiments = [found.name for found in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]
    if word in experiments:
        return f"an experiment is launched with `launch experiment={word}`"
    near = closest(word, [*COMMANDS, *experiments])
    if near is None:
        return "`launch --help` lists the commands, `launch list` the experiments"
    return f"did you mean `launch {near if near in COMMANDS else f'experiment={near}'}`?"


if __name__ == "__main__":
    main()

"""Failures the user can act on. Printed once, at the top (`launcher.cli.main`), without a traceback.

LaunchError               exit code 125: launcher or infrastructure
├── ConfigError           exit code 2: wrong configuration or command line; nothing was started
├── RunFailed             for programs that wait for a run: it did not finish well
└── NotReproduced         for programs that rerun a run: other things came out
"""

from __future__ import annotations

from runtime.light_dataclasses import dataclass

_COMMAND_LINE = "command line: "


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a line of a file, or the command line."""

    file: str | None = None
    line: int | None = None
    override: str | None = None

    def __str__(self) -> str:
        if self.override is not None:
            return f"{_COMMAND_LINE}{self.override}"
        if self.line is None:
            return str(self.file)
        return f"{self.file}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """What `str` wrote."""
        if text.startswith(_COMMAND_LINE):
            return cls(override=text.removeprefix(_COMMAND_LINE))
        file, _, line = text.rpartition(":")
        return cls(file=file, line=int(line)) if file and line.isdigit() else cls(file=text)


class LaunchError(Exception):
    """A failure the user can act on: shown without a traceback (`--debug` shows it)."""

    exit_code = 125

    def __init__(self, message: str, *, hint: str | None = None, origin: Origin | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.origin = origin


class ConfigError(LaunchError):
    """The configuration or the command line is wrong. Raised before anything is started."""

    exit_code = 2


class RunFailed(LaunchError):
    """A run that a program waited for did not finish well."""


class NotReproduced(LaunchError):
    """A rerun gave other metrics or outputs than the run."""

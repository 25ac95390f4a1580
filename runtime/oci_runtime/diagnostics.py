"""What the runtime says: on stderr, and in the file of `--log`, as text or as the JSON lines that engines parse."""

from __future__ import annotations

import json
import os
import sys
import time

from runtime.errors import ContainerError
from runtime.light_typing import NamedTuple


class Diagnostics(NamedTuple):
    """Where it is said."""

    log_fd: int | None = None
    json_lines: bool = False
    debugging: bool = False

    def error(self, message: str, hint: str | None = None) -> None:
        """The one failure that ends a command."""
        self._record("error", message)
        print(f"error: {message}" + (f"\n\nhint: {hint}" if hint else ""), file=sys.stderr)

    def warning(self, message: str) -> None:
        self._record("warning", message)
        print(f"warning: {message}", file=sys.stderr)

    def debug(self, message: str) -> None:
        """Only with `--debug`; on stderr unless there is a file."""
        if not self.debugging:
            return
        if self.log_fd is None:
            print(f"debug: {message}", file=sys.stderr)
        self._record("debug", message)

    def _record(self, level: str, message: str) -> None:
        if self.log_fd is None:
            return
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.json_lines:
            line = json.dumps({"msg": message, "level": level, "time": when})
        else:
            line = f'time="{when}" level={level} msg={json.dumps(message)}'
        os.write(self.log_fd, f"{line}\n".encode())


def open_diagnostics(path: str | None, kind: str | None, *, debugging: bool) -> Diagnostics:
    """Raises ContainerError for a file that can't be written and a format that nobody knows."""
    if kind not in (None, "text", "json"):
        raise ContainerError(f"unknown format of the log: `{kind}`", hint="`text` or `json`")
    if not path or path.startswith(("syslog:", "journald:")):
        return Diagnostics(None, kind == "json", debugging)
    path = path.removeprefix("file:")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ContainerError(f"cannot open the log `{path}`: {os.strerror(error.errno or 0).lower()}") from error
    return Diagnostics(fd, kind == "json", debugging)

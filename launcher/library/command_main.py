"""The process of a command that a program called: `python -m launcher.library.command_main FD WORDS…`.

Does what `launch WORDS…` does; a failure is told in the file FD instead of on stderr.
"""

from __future__ import annotations

import os
import sys

from launcher.cli import failures
from launcher.cli.main import run


def main() -> None:
    failures.told_fd = int(sys.argv.pop(1))
    os.set_inheritable(failures.told_fd, False)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

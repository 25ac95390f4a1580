"""The supervisor's own program: `python -I -S supervisor_main.py SITE RUN_DIR`, or `… SITE serve` for a fork server.

Isolated (-I) and without site (-S): no user's sitecustomize, PYTHONPATH or .pth file runs in it, and it starts in 10 ms.
"""

import os
import sys


def _take_environment() -> None:
    """What `supervisor_start.py` has written down for us; executed with, it would stand in /proc/PID/environ."""
    fd = 9
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb") as file:
        for entry in file.read().split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals:
                os.environb[name] = value


if __name__ == "__main__":
    _take_environment()
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))
    if sys.argv[2] == "serve":
        from launcher.run.start.fork_server_main import serve

        serve()
    from pathlib import Path

    from launcher.run.supervisor.supervisor import main
    from runtime.state_dir import RunDir

    main(RunDir(Path(sys.argv[2])))

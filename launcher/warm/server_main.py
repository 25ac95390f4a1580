"""Program of the fork server: `python -I -S server_main.py SITE ADDRESS`. It leaves a warm helper at ADDRESS, if there is one.

Isolated (-I) and without site (-S), as the supervisor's own program is.
"""

import os
import select
import sys

_FIRST_S = 10.0
"""The longest time for which the command that started us needs the processor more than the next one."""

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))

    from launcher.run.start.fork_server_main import serve
    from launcher.run.start.supervisor_start import take_environment

    _address = sys.argv[2]
    if _address:
        _server_fd = os.pidfd_open(os.getpid())
        if os.fork() == 0:  # before the environment is there: the helper stays, and a command's secrets are not its own
            select.select([_server_fd], [], [], _FIRST_S)
            from launcher.warm.warm_helper import run

            run(_address)
        os.close(_server_fd)
    take_environment()
    serve()

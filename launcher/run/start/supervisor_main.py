"""The supervisor's own program: `python -I -S supervisor_main.py SITE RUN_DIR`, or `… SITE send LAUNCH_HOME` for a sender,
`… SITE notify RUN_DIR` for who tells of a run's end.

Isolated (-I) and without site (-S): no user's sitecustomize, PYTHONPATH or .pth file runs in it, and it starts in 10 ms.
"""

import os
import sys

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))

    from pathlib import Path

    from launcher.run.start.supervisor_start import take_environment
    from runtime.state_dir import RunDir, StateDir

    take_environment()
    if sys.argv[2] == "send":
        from launcher.tracking.sender import send

        send(StateDir(Path(sys.argv[3])))
    elif sys.argv[2] == "notify":
        from launcher.run.notice import notify

        notify(RunDir(Path(sys.argv[3])))
    else:
        from launcher.run.supervisor.supervisor import main

        main(RunDir(Path(sys.argv[2])))

"""A job's own program: `python -I -S job_main.py SITE RUN_DIR`, isolated as `launcher/run/start/supervisor_main.py` is."""

import os
import sys

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))
    from pathlib import Path

    from launcher.cluster.job import main
    from runtime.state_dir import RunDir

    main(RunDir(Path(sys.argv[2])))

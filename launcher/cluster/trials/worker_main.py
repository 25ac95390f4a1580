"""A worker job's own program: `python -I -S worker_main.py SITE WORKER_DIR`, isolated as `supervisor_main.py` is."""

import os
import sys

if __name__ == "__main__":
    _package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:0] = list(dict.fromkeys([_package_root, sys.argv[1]]))
    from pathlib import Path

    from launcher.cluster.trials.exchange import WorkerDir
    from launcher.cluster.trials.worker import main

    main(WorkerDir(Path(sys.argv[2])))

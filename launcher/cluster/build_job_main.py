"""The program of a job that builds an image: `python -I build_job_main.py DIRECTORY LAUNCH_HOME`."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from pathlib import Path

    from launcher.cluster.build_job import main

    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""A run of this machine has nothing to do with clusters."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
from launcher.cli.commands import experiments, images, machine, running, runs
from launcher.cli import run_place
from launcher.cli.runs import control, logs, start
from launcher.run.start import fork_server
from launcher.run.supervisor import supervisor
print([name for name in sys.modules if "cluster" in name or "slurm" in name])
"""


def test_a_local_launch_and_its_supervisor_load_nothing_of_the_cluster():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout

"""A sweep of short trials on a cluster, beside the cluster's own array of the bare program (on tests/cluster/slurm_bed.py).

    python tests/bench/cluster_array.py --trials 100

Three nodes with two GPUs each that only have to exist; each trial is `sleep 1` with one GPU, in a container and recorded. Timed
from the command to the end of the last: `launch -m … cluster=slurm`, its image built before, and `sbatch --array`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
from gpu_box import make_box
from slurm_bed import SlurmBed, slurm_bed

NODES, GPUS_A_NODE = 3, 2

# A node's own GPUs: Slurm counts each node's from 0, and this machine has to have them all.
PROLOG = """\
#!/bin/sh
first=$(( (${SLURMD_NODENAME#node} - 1) * 2 ))
for gpu in $(echo "$CUDA_VISIBLE_DEVICES" | tr , ' '); do given="$given,$(( first + gpu ))"; done
test -z "$given" || echo "export CUDA_VISIBLE_DEVICES=${given#,}"
"""

EXPERIMENT = """\
# @package _global_
description: Sleeps, as a trial that is over soon
command: sleep ${params.seconds}
params: {seconds: 1}
gpus: 1
memory: 64MiB
tracking: null
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, default=100)
    options.add_argument("--seconds", type=float, default=1.0)
    options.add_argument("--home", type=Path, help="LAUNCH_HOME to use; its own and removed by default")
    chosen = options.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="launch-array-", dir="/tmp"))
    scratch.chmod(0o755)
    box = make_box(scratch / "box", gpus=NODES * GPUS_A_NODE)
    try:
        prolog = scratch / "prolog"
        prolog.write_text(PROLOG)
        prolog.chmod(0o755)
        (scratch / "bed").mkdir(mode=0o755)
        with slurm_bed(scratch / "bed", nodes=NODES, settings={"TaskProlog": prolog}) as bed:
            _measure(chosen, scratch, bed, {**os.environ, **box.env, **bed.environ})
    finally:
        box.remove()
        shutil.rmtree(scratch, ignore_errors=True)


def _measure(chosen: argparse.Namespace, scratch: Path, bed: SlurmBed, environ: dict[str, str]) -> None:
    project, home = scratch / "project", chosen.home or scratch / "home"
    (project / "conf/experiment").mkdir(parents=True)
    (project / "conf/experiment/sleep.yaml").write_text(EXPERIMENT)
    environ["LAUNCH_HOME"] = str(home)
    launch = shutil.which("launch") or "launch"
    subprocess.run([launch, "build", "experiment=sleep"], cwd=project, env=environ, check=True)
    # Every point is another one, and all take as long.
    seconds = ",".join(f"{chosen.seconds + 1e-6 * number:.6f}" for number in range(chosen.trials))
    began = time.monotonic()
    bed.ask("sbatch", f"--array=0-{chosen.trials - 1}", "--gpus=1", "--output=/dev/null", f"--wrap=sleep {chosen.seconds}")
    while bed.jobs():
        time.sleep(0.1)
    bare_s = time.monotonic() - began
    began = time.monotonic()
    sweep = [launch, "-m", "experiment=sleep", "cluster=slurm", f"params.seconds={seconds}"]
    subprocess.run(sweep, cwd=project, env=environ, check=True)
    sweep_s = time.monotonic() - began
    rounds_s = chosen.seconds * -(-chosen.trials // (NODES * GPUS_A_NODE))
    print(f"\n{chosen.trials} trials of {chosen.seconds:g} s on {NODES * GPUS_A_NODE} GPUs: at least {rounds_s:.1f} s")
    print(f"sbatch --array of the bare program  {bare_s:.1f} s")
    print(f"launch -m cluster=slurm             {sweep_s:.1f} s   {sweep_s / bare_s:.2f} ×")


if __name__ == "__main__":
    main()

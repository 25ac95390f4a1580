"""From `launch … cluster=slurm` to the first line of an unchanged experiment, beside `srun` and `sbatch` of the same, in turns.

    python tests/bench/cluster_first_line.py --rounds 20

On an idle Slurm of its own (tests/cluster/slurm_bed.py) with GPUs that aren't there (tests/gpu_box.py). Prints the medians, their
difference, and where launch's time went, by the run's journal: the command until it has submitted, Slurm and the start of Python
on the node until the job is placed, the lease, the container, the program, and what passes until its line is shown.

Slurm looks for a place for a batch job once a second, and for srun's at once: what sbatch takes beyond srun is that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from journal_lines import read_lines

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
from gpu_box import make_box
from slurm_bed import slurm_bed

EXPERIMENT = """\
# @package _global_
description: Says one thing
command: [python3, -c, "print(1)"]
gpus: 1
memory: 64MiB
tracking: null
"""
MOMENTS = ("submitted", "placed", "leased", "started", "first_output")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--home", type=Path, help="LAUNCH_HOME to use; its own and removed by default")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as scratch:
        os.chmod(scratch, 0o755)
        box = make_box(Path(scratch) / "box", gpus=2)
        bed_root = Path(scratch) / "bed"
        bed_root.mkdir()
        try:
            with slurm_bed(bed_root) as bed:
                environ = {**os.environ, **box.env, **bed.environ, "LAUNCH_HOME": str(chosen.home or Path(scratch) / "home")}
                _measure(_project(Path(scratch) / "project"), environ, chosen.rounds)
        finally:
            box.remove()


def _project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True)
    (directory / "conf/experiment/say.yaml").write_text(EXPERIMENT)
    return directory


def _measure(project: Path, environ: dict[str, str], rounds: int) -> None:
    launch = [shutil.which("launch") or "launch", "experiment=say", "cluster=slurm"]
    srun = ["srun", "--gpus=1", "--mem=64M", "python3", "-c", "print(1)"]
    subprocess.run(launch, cwd=project, env=environ, check=True)  # builds the image
    ours, theirs, batch, parts = [], [], [], []
    for _ in range(rounds):
        batch.append(_sbatch_to_first_line(project, environ))
        theirs.append(_to_first_line(srun, project, environ)[1])
        begun, took = _to_first_line(launch, project, environ)
        ours.append(took)
        parts.append(_parts(Path(environ["LAUNCH_HOME"]), begun, begun + took))
    print(f"srun    {statistics.median(theirs):6.3f} s   (median of {rounds}; {min(theirs):.3f} to {max(theirs):.3f})")
    print(f"sbatch  {statistics.median(batch):6.3f} s   (median of {rounds}; {min(batch):.3f} to {max(batch):.3f})")
    print(f"launch  {statistics.median(ours):6.3f} s   (median of {rounds}; {min(ours):.3f} to {max(ours):.3f})")
    print(f"beyond  {statistics.median(ours) - statistics.median(theirs):6.3f} s")
    for name in (*MOMENTS, "shown"):
        print(f"  to {name:<13} {statistics.median(part[name] for part in parts):6.3f} s")


def _to_first_line(argv: list[str], project: Path, environ: dict[str, str]) -> tuple[float, float]:
    """When it was started, and the seconds until its first line; returns after its end."""
    at, begun = time.time(), time.perf_counter()
    with subprocess.Popen(argv, cwd=project, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        took = time.perf_counter() - begun
        words = process.stderr.read()
    if process.returncode != 0 or line != b"1\n":
        sys.exit(f"{' '.join(argv)} failed:\n{words.decode()}")
    return at, took


def _sbatch_to_first_line(project: Path, environ: dict[str, str]) -> float:
    """Until its line is in the file that it goes to."""
    file = project / "sbatch.out"
    file.unlink(missing_ok=True)
    argv = ["sbatch", "--quiet", "--wait", "--gpus=1", "--mem=64M", f"--output={file}", "--wrap=exec python3 -c 'print(1)'"]
    begun = time.perf_counter()
    with subprocess.Popen(argv, cwd=project, env=environ, stdout=subprocess.DEVNULL):
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.002)
        return time.perf_counter() - begun


def _parts(home: Path, begun: float, shown: float) -> dict[str, float]:
    """Seconds from one moment to the next."""
    newest = max((home / "runs").iterdir(), key=lambda run: (run / "plan.json").stat().st_mtime)
    at = {event.name: event.at for event in reversed(read_lines(newest / "journal.jsonl"))}
    steps = pairwise([begun, *(at[name] for name in MOMENTS), shown])
    return {name: after - before for name, (before, after) in zip((*MOMENTS, "shown"), steps, strict=True)}


if __name__ == "__main__":
    main()

"""One of Slurm's own programs, run and answered for: its output, or its words as an error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from launcher.errors import LaunchError

_PATIENCE_S = 60.0
"""Slurm's programs try for half a minute to reach a controller that is being restarted."""

_NO_CONFIGURATION = "Could not establish a configuration source"

_USER_SETTINGS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SINFO_")
"""A user's own settings for what these print and whom they end: a job that they leave out would be taken for forgotten."""

CLUSTERS = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")
"""Variables that name other clusters than that of this machine."""


class SlurmMissing(LaunchError):
    """Slurm's programs, or what they need to find a controller, are not on this machine."""


class SlurmRefused(LaunchError):
    """One of Slurm's programs failed, with its *words*."""

    def __init__(self, program: str, words: str) -> None:
        super().__init__(f"`{program}` failed: {words}")
        self.words = words


def run_slurm(
    argv: Sequence[str],
    *,
    stdin: str = "",
    unless: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    patience_s: float = _PATIENCE_S,
) -> str:
    """The output of one of Slurm's programs; "" when it fails with words that contain one of *unless*. Raises LaunchError."""
    if shutil.which(argv[0]) is None:
        raise SlurmMissing(f"`{argv[0]}` is not installed here", hint="`cluster=slurm` needs Slurm's programs in PATH")
    # sbatch hands its environment to the job.
    env = dict(environ) if argv[0] == "sbatch" else {**_without_user_settings(environ), "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=patience_s, check=False, env=env)
    except subprocess.TimeoutExpired as late:
        raise LaunchError(f"`{argv[0]}` has not answered for {patience_s:g} s", hint="is the Slurm controller up?") from late
    if done.returncode == 0:
        return done.stdout
    words = done.stderr.strip()
    if any(expected in words for expected in unless):
        return ""
    if _NO_CONFIGURATION in words:
        hint = f"`{argv[0]}` finds no slurm.conf: not by SLURM_CONF, in /etc/slurm, or by DNS"
        raise SlurmMissing("no Slurm is set up here", hint=hint)
    raise SlurmRefused(argv[0], _without_prefix(words, argv[0]) or f"exit code {done.returncode}")


def _without_user_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not (name in CLUSTERS or name.startswith(_USER_SETTINGS))}


def _without_prefix(words: str, program: str) -> str:
    return "; ".join(line.removeprefix(f"{program}: ").removeprefix("error: ") for line in words.splitlines())

"""What Slurm's own programs say where there is no Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cluster.slurm.slurm import Slurm
from launcher.plan.slurm_program import SlurmMissing

WORDS = """\
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: error: _establish_config_source: failed to fetch config
sbatch: fatal: Could not establish a configuration source
"""


def test_a_machine_with_slurms_programs_alone_has_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{WORDS}END\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SlurmMissing, match="no Slurm is set up here"):
        Slurm().refusal("#!/bin/sh\ntrue\n")


def test_a_machine_without_slurms_programs_has_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmMissing, match="`sbatch` is not installed here"):
        Slurm().refusal("#!/bin/sh\ntrue\n")

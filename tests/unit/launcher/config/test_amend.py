"""What a rerun may change of a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.amend import amend
from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError

SPEC = ExperimentSpec(name="x", command=("true",), timeout=60.0)


def amended(*texts, spec=SPEC):
    return amend(spec, texts, cwd=Path("/"))


def test_a_run_of_this_machine_runs_again_on_a_cluster_and_the_other_way():
    there = amended("cluster=slurm", "cluster.partition=gpu")
    assert Cluster(kind="slurm", partition="gpu", time=60.0) == there.cluster
    assert "local" == amended("cluster=local", spec=there).cluster.kind


def test_the_job_asks_for_the_time_that_is_given_with_it():
    assert 90.0 == amended("cluster=slurm", "timeout=90s").cluster.time
    assert 120.0 == amended("cluster=slurm", "cluster.time=2m").cluster.time


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("cluster=lab", "a rerun has no files to choose from: `cluster=lab`", id="a preset of a project"),
        pytest.param("image=cuda12", "a rerun has the image and the code of the record", id="an image"),
        pytest.param("code.root=elsewhere", "a rerun has the image and the code of the record", id="other code"),
    ],
)
def test_what_the_record_keeps_is_refused(text, message):
    with pytest.raises(ConfigError) as refused:
        amended(text)
    assert refused.value.message.startswith(message)
    assert text == refused.value.origin.override

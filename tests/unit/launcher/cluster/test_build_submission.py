"""What a job that builds an image asks for, and the directory through which it is told."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster.build_submission import _remove_old_builds, build_script
from launcher.config.spec import Cluster, ExperimentSpec
from runtime.build.plan import BuildPlan, ImageConfig, RunCommand


@dataclass(frozen=True)
class Plan:
    """As much of a plan as a job's script goes by."""

    spec: Any
    build: BuildPlan
    cpus: float = 4.0
    gpus: float = 2
    memory_bytes: int | None = 64 << 30


def asked(*steps, **cluster):
    spec = ExperimentSpec(name="resnet", command=("true",), gpus=2, nodes=4, cluster=Cluster(kind="slurm", **cluster))
    script = build_script(Plan(spec, BuildPlan(steps, ImageConfig())), Path("/lab/builds/1"), Path("/lab"))
    return {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}


OF_THE_RUNS_NODES = {"constraint": "a100", "nodelist": "gpu[1-4]", "reservation": "school"}


def test_it_asks_for_the_runs_place_on_one_node_without_gpus():
    found = asked(partition="gpu", sbatch=OF_THE_RUNS_NODES | {"gpus": 2})
    assert {"partition=gpu", "nodes=1", "cpus-per-task=4", "mem=65536M", "constraint=a100", "reservation=school"} <= found
    assert not [option for option in found if option.startswith("gpu")]


def test_it_asks_for_one_gpu_where_a_command_of_the_image_wants_one():
    assert "gpus-per-node=1" in asked(RunCommand(("nvcc",), gpu="9.0"), partition="gpu")


def test_in_another_partition_it_asks_for_nothing_that_only_the_runs_nodes_have():
    found = asked(partition="gpu", build_partition="cpu", sbatch=OF_THE_RUNS_NODES | {"comment": "x"})
    assert {"partition=cpu", "cpus-per-task=4", "comment=x"} <= found
    assert not [option for option in found if option.split("=")[0] in {"mem", *OF_THE_RUNS_NODES}]


@pytest.mark.parametrize(
    ("gres", "kept"),
    [
        pytest.param("lscratch:800", ["gres=lscratch:800"], id="a disk"),
        pytest.param(["gpu:a100:2", "lscratch:800"], ["gres=lscratch:800"], id="beside GPUs"),
        pytest.param("gpu:2,shard:1", [], id="GPUs alone"),
    ],
)
def test_a_resource_that_is_no_gpu_is_asked_for_too(gres, kept):
    assert kept == [option for option in asked(sbatch={"gres": gres}) if option.startswith("gres")]


def test_a_directory_that_another_command_is_about_to_fill_stays(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
    last_month = time.time() - 30 * 86_400
    os.utime(tmp_path / "old", (last_month, last_month))
    (tmp_path / "gone").symlink_to("nowhere")  # as one that another command removes between our looks
    _remove_old_builds(tmp_path)
    assert {"new", "gone"} == {*os.listdir(tmp_path)}

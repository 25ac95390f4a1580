"""What the program of a stranger's plan would get of this machine: all of it is named, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from sample_plan import PLAN, SPEC

from launcher.config.spec import Cluster, ExperimentSpec, Mount, Tracking
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.grants import grants
from runtime.build.plan import BuildPlan, ImageConfig, RunCommand
from runtime.light_dataclasses import replace

HERE = "http://mlflow.lab:5000"
NOTHING = BuildPlan((), ImageConfig())


def plan_with(*, gpus: float = 0, build: BuildPlan = NOTHING, **spec: Any) -> LaunchPlan:
    return replace(PLAN, spec=ExperimentSpec(name="sample", **spec), build=build, gpus=gpus)


def given(plan: LaunchPlan, *typed: str) -> list[tuple[str, str]]:
    return [(grant.kind, grant.words) for grant in grants(plan, recorded_at=HERE, typed=typed)]


def test_a_plan_of_processor_and_memory_gets_nothing_to_ask_about() -> None:
    assert [] == given(plan_with(cpus=64, memory=1 << 40, env={"A": "b"}))
    assert [] == given(plan_with(tracking=Tracking(uri=f"{HERE}/")))


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(plan_with(secrets=("HF_TOKEN",)), ("secret", "HF_TOKEN, from this shell"), id="secret"),
        pytest.param(plan_with(data={"x": Mount("/home/ada/.ssh")}), ("reads", "/home/ada/.ssh"), id="directory"),
        pytest.param(plan_with(data={"x": Mount("/home", readonly=False)}), ("writes", "/home"), id="writable directory"),
        pytest.param(
            plan_with(caches={"hf": "/c"}), ("writes", "the cache `hf`, which your own runs use too"), id="shared cache"
        ),
        pytest.param(plan_with(gpus=2), ("device", "2 GPUs"), id="GPUs"),
        pytest.param(plan_with(devices=("vendor.com/x=all",)), ("device", "vendor.com/x=all"), id="device"),
        pytest.param(plan_with(network="bridge"), ("network", "bridge: what this machine reaches"), id="network"),
        pytest.param(
            plan_with(network="host"),
            ("network", "host: this machine's own, with what listens on its loopback"),
            id="network of the host",
        ),
        pytest.param(plan_with(publish=("8080",)), ("network", "port 8080, open to others"), id="published port"),
        pytest.param(
            plan_with(build=BuildPlan((RunCommand(("curl", "x"), network="bridge"),), ImageConfig())),
            ("build", "1 command with a network, the first: curl x"),
            id="build step",
        ),
        pytest.param(
            plan_with(build=BuildPlan((), ImageConfig(), stages=((RunCommand(("a",), network="host", label="apt"),),))),
            ("build", "1 command with a network, the first: apt"),
            id="build step of another stage",
        ),
        pytest.param(
            plan_with(tracking=Tracking(uri="http://evil")),
            ("record", "goes to http://evil, with this shell's credentials for MLflow"),
            id="another server, which would get MLFLOW_TRACKING_TOKEN",
        ),
        pytest.param(
            plan_with(tracking=Tracking(scope="server")),
            ("MLflow", "all of the server, also others' runs and models"),
            id="scope",
        ),
        pytest.param(
            plan_with(cluster=Cluster(kind="slurm", sbatch={"output": "/home/ada/.bashrc"})),
            ("cluster", "a job of slurm --output=/home/ada/.bashrc"),
            id="options of sbatch, which write files",
        ),
    ],
)
def test_each_thing_that_it_gets_is_named(plan: LaunchPlan, expected: tuple[str, str]) -> None:
    assert [expected] == given(plan)


def test_what_was_typed_is_given_by_whoever_typed_it() -> None:
    plan = replace(PLAN, spec=replace(SPEC, network="bridge"), build=NOTHING, gpus=1)
    everything = {"secret", "reads", "writes", "device", "network"}
    assert everything == {kind for kind, _ in given(plan)}
    assert everything - {"reads", "network"} == {kind for kind, _ in given(plan, "data.cifar-10=/mine", "network=pasta")}
    assert everything - {"reads"} == {kind for kind, _ in given(plan, "data.cifar-10.source=/mine")}
    assert everything == {kind for kind, _ in given(plan, "data.cifar-10.readonly=true", "params.network=1", "data.other=/x")}

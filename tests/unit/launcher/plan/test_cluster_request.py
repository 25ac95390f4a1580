"""What a run may ask of a cluster, and what is refused before anything is built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError, Origin
from launcher.plan.cluster_request import cores_asked
from launcher.plan.refusals import refuse_cluster, refuse_unsupported

SPEC = ExperimentSpec(name="x", command=("true",), cluster=Cluster(kind="slurm"))


def where(key):
    return Origin(override=key)


def with_options(**options):
    return replace(SPEC, cluster=Cluster(kind="slurm", sbatch=options))


def test_a_run_for_slurm_passes():
    refuse_unsupported(with_options(constraint="a100", exclusive=True), where)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(replace(SPEC, gpus="all"), "`gpus: all` means nothing before a node is chosen", id="all GPUs"),
        pytest.param(replace(SPEC, gpus=0.5), "`gpus: 0.5`: Slurm gives whole GPUs", id="half a GPU"),
        pytest.param(replace(SPEC, nodes=2), "`nodes: 2` is not supported yet: a run has one machine", id="two nodes"),
        pytest.param(with_options(**{"--exclusive": True}), "`cluster.sbatch.--exclusive`: options are written", id="dashes"),
    ],
)
def test_what_a_cluster_cannot_be_asked_for_is_refused(spec, message):
    with pytest.raises(ConfigError) as refused:
        refuse_unsupported(spec, where)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        pytest.param("partition", "write `cluster.partition`", id="has a key of its own"),
        pytest.param("requeue", "a job is not queued again by itself", id="two attempts at once"),
        pytest.param("output", "`launch logs RUN`", id="ours"),
    ],
)
def test_options_that_launch_sets_itself_are_refused_with_what_to_write(option, hint):
    with pytest.raises(ConfigError, match=rf"`cluster\.sbatch\.{option}` cannot be set") as refused:
        refuse_unsupported(with_options(**{option: "x"}), where)
    assert hint in refused.value.hint
    assert refused.value.origin == Origin(override=f"cluster.sbatch.{option}")


def test_what_has_no_engine_but_this_machine_is_refused_for_a_cluster():
    with pytest.raises(ConfigError, match="not supported yet for a sweep"):
        refuse_cluster(SPEC, where, "a sweep")
    refuse_cluster(replace(SPEC, cluster=Cluster()), where, "a sweep")


@pytest.mark.parametrize(
    ("change", "cores"),
    [
        pytest.param({}, 1.0, id="nothing asked"),
        pytest.param({"gpus": 4}, 4.0, id="one for each GPU"),
        pytest.param({"gpus": 4, "cpus": 16}, 16.0, id="as asked"),
    ],
)
def test_cores_are_those_asked_for_or_one_for_each_gpu(change, cores):
    assert cores == cores_asked(replace(SPEC, **change))

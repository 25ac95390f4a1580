"""What a run may ask of a cluster, and what is refused before anything is built."""

from __future__ import annotations

import pytest

from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError, Origin
from launcher.plan.cluster_request import node_share, refuse_impatience, shards
from launcher.plan.refusals import refuse_cluster, refuse_unsupported
from runtime.light_dataclasses import replace

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
        pytest.param(with_options(**{"--exclusive": True}), "`cluster.sbatch.--exclusive`: options are written", id="dashes"),
        pytest.param(with_options(mail_type="END"), "`cluster.sbatch.mail_type`: options are written as", id="underscores"),
    ],
)
def test_what_a_cluster_cannot_be_asked_for_is_refused(spec, message):
    with pytest.raises(ConfigError) as refused:
        refuse_unsupported(spec, where)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("options", [{"gres": "gpu:a100:2"}, {"gpus": 2}, {"gres": ("lscratch:1", "shard:1")}])
def test_gpus_that_no_run_would_take_are_not_asked_for(options):
    with pytest.raises(ConfigError, match="`gpus: 0` takes none of them"):
        refuse_unsupported(with_options(**options), where)
    refuse_unsupported(replace(with_options(**options), gpus=2), where)
    refuse_unsupported(with_options(gres="lscratch:800"), where)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        pytest.param("partition", "write `cluster.partition`", id="has a key of its own"),
        pytest.param("array", "a sweep is what many jobs of one kind are", id="many runs"),
        pytest.param("requeue", "write `cluster.requeue=true`", id="two attempts at once"),
        pytest.param("output", "`launch logs RUN`", id="ours"),
        pytest.param("clusters", "its job has to be there", id="nobody would find it"),
        pytest.param("outp", "`launch logs RUN`", id="as sbatch takes it, too"),
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


def test_a_run_that_will_not_wait_is_told_what_slurm_has_for_that():
    with pytest.raises(ConfigError, match="keeps a job in line") as refused:
        refuse_impatience(SPEC, where)
    assert "cluster.sbatch.deadline" in refused.value.hint


@pytest.mark.parametrize(
    ("change", "cores"),
    [
        pytest.param({}, 1.0, id="nothing asked"),
        pytest.param({"gpus": 4}, 4.0, id="one for each GPU"),
        pytest.param({"gpus": 4, "cpus": 16}, 16.0, id="as asked"),
    ],
)
def test_cores_are_those_asked_for_or_one_for_each_gpu(change, cores):
    assert cores == node_share(replace(SPEC, **change), where).cpus


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    """`sinfo(*lines)`: a cluster with these kinds of nodes."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(*lines):
        text = "\n".join(lines)
        (tmp_path / "sinfo").write_text(f"#!/bin/sh\ncat <<'E'\n{text}\nE\n")
        (tmp_path / "sinfo").chmod(0o755)

    return make


ALL, HALF = replace(SPEC, gpus="all"), replace(SPEC, gpus=0.5)


def test_all_gpus_are_those_of_the_clusters_nodes_and_all_cores_come_along(sinfo):
    sinfo("gpu:8|64|(null)|big|", "gpu:8|48|(null)|slim|", "(null)|128|(null)|cpu|")
    share = node_share(ALL, where)
    assert (8, 48.0) == (share.gpus, share.cpus)
    assert 4.0 == node_share(replace(ALL, cpus=4), where).cpus


def test_a_part_of_a_gpu_is_a_number_of_shards(sinfo):
    sinfo("gpu:2,shard:8|2|(null)|node[1-3]|", "gpu:4|64|(null)|whole|")
    assert (0.5, 1.0) == (node_share(HALF, where).gpus, node_share(HALF, where).cpus)
    assert 2 == shards(HALF, where)


@pytest.mark.parametrize(
    ("spec", "lines", "message"),
    [
        pytest.param(ALL, ["(null)|8|(null)|cpu|"], "no node of this cluster that the run may have has a GPU", id="none"),
        pytest.param(
            ALL, ["gpu:8|8|(null)|a|", "gpu:1|8|(null)|b|"], "is not the same on all nodes: a: 8 GPUs; b: 1 GPU", id="two kinds"
        ),
        pytest.param(HALF, ["gpu:8|8|(null)|a|"], "this cluster gives whole GPUs", id="no shards"),
        pytest.param(replace(HALF, gpus=0.3), ["gpu:2,shard:8|8|(null)|a|"], "a part is a multiple of 0.25", id="between shards"),
    ],
)
def test_what_the_clusters_nodes_cannot_give_is_refused(sinfo, spec, lines, message):
    sinfo(*lines)
    with pytest.raises(ConfigError) as refused:
        node_share(spec, where)
    assert message in refused.value.message
    assert refused.value.origin == Origin(override="gpus")


def test_who_asks_for_gpus_in_slurms_words_is_not_asked_about_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = replace(HALF, cluster=Cluster(kind="slurm", sbatch={"gres": "shard:3"}))
    assert (0.5, None) == (node_share(asked, where).gpus, shards(asked, where))


def test_a_machine_without_slurm_says_that_only_a_number_needs_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="`sinfo` is not installed here") as refused:
        node_share(ALL, where)
    assert "gpus=1" in refused.value.hint

"""Lines of `sinfo --Format=Gres:|,CPUs:|,Features:|,NodeList:|`, and what nodes they tell of."""

from __future__ import annotations

import pytest

from launcher.config.spec import Cluster
from launcher.errors import LaunchError
from launcher.plan.cluster_request import nodes_with_gpus, read_sinfo

KINDS = """\
gpu:2,shard:8|2|(null)|node[1-3]|
gpu:a100:4(S:0-1),shard:a100:16(S:0-1)|128|a100,ib|gpu[01-12]|
gpu:a100:4(S:0),gpu:v100:2(S:1)|64|mixed|odd1|
(null)|32|(null)|cpu[1-40]|
lscratch:800,gpu:rtx_6000:8|48+|rtx|rtx[1-4]|
"""


@pytest.mark.parametrize(
    ("names", "gpus", "shards", "cpus"),
    [
        ("node[1-3]", 2, 8, 2),
        ("gpu[01-12]", 4, 16, 128),
        ("odd1", 6, 0, 64),
        ("cpu[1-40]", 0, 0, 32),
        ("rtx[1-4]", 8, 0, 48),
    ],
)
def test_gpus_and_shards_of_a_node_are_counted(names, gpus, shards, cpus):
    found = {nodes.names: nodes for nodes in read_sinfo(KINDS)}[names]
    assert (gpus, shards, cpus) == (found.gpus, found.shards, found.cpus)


def test_a_line_that_is_not_understood_counts_for_nothing():
    assert [] == read_sinfo("slurm is being restarted\nGRES|CPUS|AVAIL_FEATURES|NODELIST|\n\n|||\n")


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    def make(body):
        (tmp_path / "sinfo").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\n{body}\n')
        (tmp_path / "sinfo").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "asked"

    return make


def test_nodes_that_the_run_cannot_have_do_not_count(sinfo):
    asked = sinfo(f"cat <<'E'\n{KINDS}E")
    found = nodes_with_gpus(Cluster(kind="slurm", partition="gpu", sbatch={"constraint": "a100", "nodelist": ("gpu01", "odd1")}))
    assert ["gpu[01-12]"] == [nodes.names for nodes in found]
    assert "--partition=gpu --nodes=gpu01,odd1" in asked.read_text()


def test_a_constraint_that_is_an_expression_is_slurms_to_work_out(sinfo):
    sinfo(f"cat <<'E'\n{KINDS}E")
    assert 4 == len(nodes_with_gpus(Cluster(kind="slurm", sbatch={"constraint": "[rack1|rack2]"})))


def test_a_controller_that_does_not_answer_is_told_in_its_words(sinfo):
    sinfo("echo 'slurm_load_partitions: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    with pytest.raises(LaunchError, match="Unable to contact slurm controller"):
        nodes_with_gpus(Cluster(kind="slurm"))

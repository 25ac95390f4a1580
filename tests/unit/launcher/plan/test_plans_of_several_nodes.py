"""What several nodes need, and what can't be with them."""

from __future__ import annotations

import pytest

from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError, Origin
from launcher.plan.cluster_request import (
    _kinds_of_mpi,
    on_several_nodes,
    refuse_missing_mpi,
    refuse_other_starters,
    refuse_standalone,
)
from launcher.plan.program.environment import Rendezvous
from runtime.light_dataclasses import replace

SPEC = ExperimentSpec(name="x", command=("true",), nodes=2, cluster=Cluster(kind="slurm"))
ORIGIN = Origin(file="conf/x.yaml", line=3)


def nowhere(key):
    return None


def somewhere(key):
    return ORIGIN


def test_several_nodes_have_their_machines_network():
    assert "host" == on_several_nodes(SPEC, nowhere).network
    assert "host" == on_several_nodes(replace(SPEC, network="host"), somewhere).network


@pytest.mark.parametrize("network", ["none", "bridge", "lab"])
def test_a_network_that_ends_at_its_machine_is_refused(network):
    with pytest.raises(ConfigError, match=f"`network: {network}` with `nodes: 2`") as refused:
        on_several_nodes(replace(SPEC, network=network), somewhere)
    assert (ORIGIN, 2) == (refused.value.origin, refused.value.exit_code)


def test_several_nodes_need_a_cluster():
    with pytest.raises(ConfigError, match="`nodes: 2` needs a cluster") as refused:
        on_several_nodes(replace(SPEC, cluster=Cluster()), somewhere)
    assert "cluster=slurm" in refused.value.hint


def test_torchrun_alone_on_each_node_is_refused():
    with pytest.raises(ConfigError, match="each node would train for itself"):
        refuse_standalone(SPEC, ("torchrun", "--standalone", "train.py"), somewhere)
    refuse_standalone(SPEC, ("torchrun", "train.py"), somewhere)
    refuse_standalone(SPEC, ("python3", "train.py", "--standalone"), somewhere)


def test_torchrun_is_told_its_place_and_where_to_meet():
    told = Rendezvous(1, 2, "10.0.0.7", 12345, "ib0").variables()
    expected = {
        "PET_NNODES": "2",
        "PET_NODE_RANK": "1",
        "PET_RDZV_BACKEND": "static",
        "PET_RDZV_ENDPOINT": "10.0.0.7:12345",
        "NODE_RANK": "1",
        "NNODES": "2",
        "NCCL_SOCKET_IFNAME": "ib0",
        "GLOO_SOCKET_IFNAME": "ib0",
    }
    assert expected == told


def test_an_address_of_ipv6_is_told_from_its_port():
    assert "[fd00::7]:12345" == Rendezvous(0, 2, "fd00::7", 12345).variables()["PET_RDZV_ENDPOINT"]


def test_ranks_are_counted_over_the_nodes():
    world = Rendezvous(2, 3, "10.0.0.7", 12345).world(4)
    assert (8, 12, "10.0.0.7", 12345) == (world.first_rank, world.size, world.address, world.port)


MPI = replace(SPEC, nodes=1, cluster=Cluster(kind="slurm", mpi="pmix"))


def test_ranks_that_speak_mpi_have_their_machines_network_on_one_node_too():
    assert "host" == on_several_nodes(MPI, nowhere).network
    with pytest.raises(ConfigError, match=r"`network: none` with `cluster\.mpi: pmix`"):
        on_several_nodes(replace(MPI, network="none"), somewhere)


def test_mpi_needs_a_cluster():
    with pytest.raises(ConfigError, match=r"`cluster\.mpi: pmi2` needs a cluster") as refused:
        on_several_nodes(replace(MPI, cluster=Cluster(mpi="pmi2")), somewhere)
    assert "mpirun -n 4" in refused.value.hint


@pytest.mark.parametrize("argv", [("mpirun", "-n", "4", "./a.out"), ("/usr/bin/mpiexec", "./a.out"), ("torchrun", "train.py")])
def test_whoever_starts_ranks_of_its_own_is_refused_with_mpi(argv):
    with pytest.raises(ConfigError, match="ranks are started already") as refused:
        refuse_other_starters(MPI, argv, somewhere)
    assert "processes=4" in refused.value.hint


def test_a_program_that_is_a_rank_is_taken():
    refuse_other_starters(MPI, ("python3", "train.py"), somewhere)


LISTED = """\
MPI plugin types are...
\tnone
\tpmi2
specific pmix plugin versions available: pmix_v5
"""


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A Slurm with two plugins."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "srun").write_text(f"#!/bin/sh\ncat <<'E'\n{LISTED}E\n")
    (tmp_path / "srun").chmod(0o755)
    _kinds_of_mpi.cache_clear()
    yield tmp_path / "srun"
    _kinds_of_mpi.cache_clear()


def test_a_slurm_without_the_plugin_is_named_before_anything_is_built(srun):
    with pytest.raises(ConfigError, match=r"this Slurm has no such plugin \(`srun --mpi=list`: pmi2\)"):
        refuse_missing_mpi(MPI, somewhere)
    refuse_missing_mpi(replace(MPI, cluster=Cluster(kind="slurm", mpi="pmi2")), somewhere)


def test_a_slurm_that_does_not_say_is_left_to_the_nodes(srun):
    srun.write_text("#!/bin/sh\nexit 1\n")
    refuse_missing_mpi(MPI, somewhere)

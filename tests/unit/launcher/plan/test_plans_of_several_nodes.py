"""What several nodes need, and what can't be with them."""

from __future__ import annotations

import pytest

from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError, Origin
from launcher.plan.cluster_request import on_several_nodes, refuse_standalone
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

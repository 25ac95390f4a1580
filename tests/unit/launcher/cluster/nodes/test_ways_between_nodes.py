"""The step that brings nodes up, and the address and port at which they meet."""

from __future__ import annotations

import socket

import pytest

from launcher.cluster.nodes.rendezvous import find_free_port, route_from
from launcher.cluster.nodes.step import step_argv
from launcher.errors import LaunchError


def test_a_step_runs_once_on_each_node_but_the_first():
    argv = step_argv(4, ["python3", "node.py"], environ={"SLURM_CPUS_PER_TASK": "8"})
    assert {"--nodes=3", "--ntasks=3", "--relative=1", "--cpus-per-task=8", "--kill-on-bad-exit=0", "--wait=0"} <= {*argv}
    assert ["python3", "node.py"] == argv[-2:]


def test_a_step_in_whole_nodes_has_all_their_cores():
    """Without a number srun binds a task to one."""
    assert "--cpus-per-task=64" in step_argv(2, ["x"], environ={"SLURM_JOB_CPUS_PER_NODE": "64(x2)"})
    assert not [word for word in step_argv(2, ["x"], environ={"SLURM_JOB_CPUS_PER_NODE": "64,32"}) if "cpus" in word]


def test_nothing_of_the_environment_is_on_its_command_line():
    assert not [word for word in step_argv(2, ["x"], environ={"HF_TOKEN": "s3cret"}) if "s3cret" in word]


def test_neighbours_on_loopback_are_met_there():
    route = route_from("127.0.0.1", interface=None)
    assert ("127.0.0.1", "lo") == (route.address, route.interface)


def test_neighbours_on_ipv6_are_met_by_ipv6():
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    assert "::1" == route_from("::1", interface=None).address


def test_an_interface_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(LaunchError, match="has no network interface `ib7`") as refused:
        route_from("127.0.0.1", interface="ib7")
    assert "lo" in refused.value.hint


def test_a_port_that_is_taken_is_passed_over():
    first = find_free_port("127.0.0.1", seed=4711)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert first != find_free_port("127.0.0.1", seed=4711)
    assert 10_000 <= first < 30_000


def test_jobs_on_one_node_look_for_other_ports():
    assert find_free_port("127.0.0.1", seed=31 * 17 + 1) != find_free_port("127.0.0.1", seed=31 * 18 + 1)

"""What stands between a rank and Slurm's process manager, played on both sides."""

from __future__ import annotations

import select
import socket

import pytest

from launcher.cluster.nodes.rank_step import step_argv
from launcher.cluster.nodes.rank_task import Relay


@pytest.fixture
def init():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(10)
        theirs.settimeout(10)
        yield ours, theirs


def pump(relay, theirs):
    while ready := select.select(relay.sources(), [], [], 0.2)[0]:
        for source in ready:
            relay.pass_on(source, theirs)


def test_a_rank_that_speaks_pmi2_is_heard_before_its_manager_hears_it(init):
    manager, inherited = socket.socketpair()
    relay = Relay.between({"PMI_FD": str(inherited.detach()), "PMI_RANK": "3", "SLURM_JWT": "secret", "SLURM_JOB_ID": "7"})
    assert ({"PMI_RANK": "3"}, ("PMI_FD",)) == (relay.env, relay.fd_variables)
    with manager, socket.socket(fileno=relay.fds[0]) as rank:
        manager.sendall(b"early")
        pump(relay, init[1])
        assert b"early" == rank.recv(100)
        assert not relay.has_spoken
        rank.sendall(b"cmd=init\n")
        pump(relay, init[1])
        assert b"cmd=init\n" == manager.recv(100)
        assert b'{"task": {"spoke": true}}' == init[0].recv(100)
        manager.close()
        pump(relay, init[1])
        assert b"" == rank.recv(100)
        assert [] == relay.sources()


def test_a_rank_that_speaks_pmix_reaches_the_server_through_the_relay(init):
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"pmix-server.1;tcp4://127.0.0.1:{server.getsockname()[1]}"
        told = {"PMIX_SERVER_URI41": uri, "PMIX_SERVER_URI2": uri, "PMIX_RANK": "0"}
        files = {"PMIX_SERVER_TMPDIR": "/var/spool/x", "PMIX_GDS_MODULE": "shmem2,hash"}
        relay = Relay.between({**told, **files})
        assert relay.env["PMIX_SERVER_URI41"] == relay.env["PMIX_SERVER_URI2"] != uri
        assert ("hash", False) == (relay.env["PMIX_GDS_MODULE"], "PMIX_SERVER_TMPDIR" in relay.env)
        host, port = relay.env["PMIX_SERVER_URI41"].removeprefix("pmix-server.1;tcp4://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as rank:
            rank.sendall(b"hello")
            pump(relay, init[1])
            assert relay.has_spoken
            accepted, _ = server.accept()
            with accepted:
                assert b"hello" == accepted.recv(100)
                accepted.sendall(b"welcome")
                pump(relay, init[1])
                assert b"welcome" == rank.recv(100)
        for source in relay.sources():
            source.close()


def test_the_step_has_a_task_for_each_rank_in_the_order_of_the_nodes():
    argv = step_argv(["task"], mpi="pmix", nodes=3, processes=4)
    assert {"--mpi=pmix", "--nodes=3", "--ntasks=12", "--ntasks-per-node=4", "--distribution=block", "--overlap"} <= {*argv}
    assert ("srun", "task") == (argv[0], argv[-1])

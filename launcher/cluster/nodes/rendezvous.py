"""On the first node: where the programs of all nodes shall meet. Its address towards the others, and a port that nobody has."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping

from launcher.cluster.nodes.interfaces import way_to
from launcher.cluster.slurm.own_job import own_job
from launcher.errors import LaunchError
from launcher.plan.program.environment import Rendezvous
from launcher.plan.slurm_program import run_slurm

_FIRST_PORT, _PORTS = 10_000, 20_000
"""Below those that kernels give to whoever asks for any (from 32768)."""

_TRIES = 200
_STRIDE = 7


def arranged(nodes: int, *, attempt: int, interface: str | None, environ: Mapping[str, str] = os.environ) -> Rendezvous:
    """Where attempt *attempt* of the job that we are in meets. Raises LaunchError."""
    way = way_to(_second_node(environ), wanted=interface)
    own = own_job(environ)
    return Rendezvous(
        0, nodes, way.address, free_port(way.address, seed=int(own.job) * 31 + own.restarts * 5 + attempt), way.interface
    )


def free_port(address: str, *, seed: int) -> int:
    """A port of *address* that nobody uses now. Another *seed* begins its search elsewhere, so that jobs on one node do not meet;
    one that is taken all the same, or still in TIME_WAIT, is passed over."""
    for port in _candidates(seed):
        if _is_free(address, port):
            return port
    raise LaunchError(f"none of {_TRIES} ports of {address} is free for the nodes to meet at")


def _candidates(seed: int) -> Iterator[int]:
    for number in range(_TRIES):
        yield _FIRST_PORT + (seed + number * _STRIDE) % _PORTS


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _second_node(environ: Mapping[str, str]) -> str:
    """The address by which Slurm reaches the job's second node, which need not be its name."""
    name = run_slurm(["scontrol", "show", "hostnames", environ["SLURM_JOB_NODELIST"]]).split()[1]
    told = re.search(r"\bNodeAddr=(\S+)", run_slurm(["scontrol", "show", "node", name, "--oneliner"]))
    return told[1] if told else name

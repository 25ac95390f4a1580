"""Ranks that speak MPI: with a process manager's own words, which needs no library, and with OpenMPI and MPICH of Debian.

The libraries are called by ctypes: both are in one image, and no compiler is.
"""

from __future__ import annotations

from pathlib import Path

from launch_command import write_project

# Each rank puts a number, and adds those of all: PMI-1's wire protocol, which Slurm's pmi2 speaks, too.
WIRE = """\
import os, signal, sys, time

how = sys.argv[1]
if how == "nobody speaks":
    sys.exit(0)
wire = os.fdopen(int(os.environ["PMI_FD"]), "r+b", buffering=0)


def ask(words):
    wire.write(words.encode() + b"\\n")
    line = b""
    while not line.endswith(b"\\n"):
        line += wire.read(1)
    return dict(word.split("=", 1) for word in line.decode().split())


ask("cmd=init pmi_version=1 pmi_subversion=1")
rank, size = int(os.environ["PMI_RANK"]), int(ask("cmd=get_universe_size")["size"])
space = ask("cmd=get_my_kvsname")["kvsname"]
ask(f"cmd=put kvsname={space} key=of{rank} value={10 ** rank}")
ask("cmd=barrier_in")
total = sum(int(ask(f"cmd=get kvsname={space} key=of{each}")["value"]) for each in range(size))
# One write(2): the ranks of a node share a pipe.
os.write(1, f"rank {rank} of {size}: {total} {os.environ['RANK']} {os.environ['SLURM_PROCID']}\\n".encode())
if how == "rank 1 fails" and rank == 1:
    sys.exit(7)
if how in ("sleep", "rank 1 fails"):
    signal.signal(signal.SIGTERM, lambda *_: (print("saving", flush=True), sys.exit(0)))
    print("ready", flush=True)
    time.sleep(600)
ask("cmd=finalize")
"""

RING = """\
import ctypes, os, signal, sys, time

library, how = sys.argv[1:]
mpi = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
if "mpich" in library:  # mpi.h of each: handles are numbers there, addresses here
    world, integer, ignored = ctypes.c_int(0x44000000), ctypes.c_int(0x4C000405), ctypes.c_void_p(1)
else:
    names = ("ompi_mpi_comm_world", "ompi_mpi_int")
    world, integer = (ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, name))) for name in names)
    ignored = ctypes.c_void_p(0)
assert mpi.MPI_Init(None, None) == 0
token = ctypes.c_int()


def number(function):
    function(world, ctypes.byref(token))
    return token.value


def send(to, value):
    token.value = value
    assert mpi.MPI_Send(ctypes.byref(token), 1, integer, to, 0, world) == 0


def receive(source):
    assert mpi.MPI_Recv(ctypes.byref(token), 1, integer, source, 0, world, ignored) == 0
    return token.value


rank, size = number(mpi.MPI_Comm_rank), number(mpi.MPI_Comm_size)
if size > 1 and rank == 0:
    send(1, 1)
    total = receive(size - 1)
elif size > 1:
    total = receive(rank - 1) + 10**rank
    send((rank + 1) % size, total)
else:
    total = "alone"
os.write(1, f"rank {rank} of {size}: {total}\\n".encode())
if how == "abort" and rank == 1:
    mpi.MPI_Abort(world, 3)
if how == "abort":
    time.sleep(600)
mpi.MPI_Finalize()
"""

EXPERIMENT = """\
# @package _global_
description: ranks of a world
image: {requirements: []}
code: {root: experiments/wire}
command: [python3, wire.py, "${params.how}"]
params: {how: "0"}
nodes: 2
processes: 2
cluster: {mpi: pmi2}
cpus: 1
memory: 512MiB
grace: 2s
tracking: null
"""

OF_A_LIBRARY = """\
# @package _global_
defaults: [wire, _self_]
description: a ring
image: {apt: [libopenmpi40, libmpich12]}
code: {root: experiments/ring}
command: [python3, ring.py, "${params.library}", "${params.how}"]
params: {library: libmpi.so.40}
env: {OMPI_MCA_btl_tcp_if_include: lo}   # both nodes are this machine, and OpenMPI leaves loopback out
"""


def write_ranks(directory: Path) -> Path:
    write_project(directory, "wire", experiment=EXPERIMENT, program=WIRE)
    (directory / "experiments/ring").mkdir()
    (directory / "experiments/ring/ring.py").write_text(RING)
    (directory / "conf/experiment/ring.yaml").write_text(OF_A_LIBRARY)
    return directory

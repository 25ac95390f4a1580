"""A throw-away Slurm on this machine: a controller and several nodes on loopback, each with GPUs that only have to exist.

Everything of it lies in one directory, under ports that were free a moment ago, and ends by the pids that its daemons wrote down.
Accounting only where it is asked for (slurm_accounts.py). proctrack/linuxproc knows processes by their parents alone: the hardest
case for what must not survive.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_accounts import accounting_settings, accounts

_UP_WITHIN_S = 60.0
_DOWN_WITHIN_S = 20.0

_CONTROLLER = """\
ClusterName=bed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.sock
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
PropagateResourceLimits=NONE
GresTypes=gpu,shard
"""
_PARTITION = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 Gres=gpu:2,shard:8\n"

_IN_OWN_CGROUPS = """
for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    [ -e "$procs" ] || continue
    directory=${procs%/*}/$0
    mkdir -p "$directory" 2>/dev/null && echo $$ > "$directory/cgroup.procs" 2>/dev/null
done
exec "$@"
"""
_SEEING_ITS_OWN = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')

GPU_DEVICES = (os.makedev(1, 5), os.makedev(1, 7))
"""What a node's GPUs are: /dev/zero and /dev/full by other names. Not /dev/null: `ConstrainDevices` would forbid that to steps
without GPUs, and none begins without it."""


@dataclass(frozen=True)
class SlurmBed:
    root: Path
    machines: Path | None = None
    """Where each node sees a directory of its own, in a mount namespace: the one beside it that has the node's name."""

    @property
    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.root / "slurm.conf")}

    def ask(self, *argv: str) -> str:
        """The output of one of Slurm's programs."""
        return subprocess.run(argv, env={**os.environ, **self.environ}, capture_output=True, text=True, check=True).stdout

    def jobs(self) -> list[str]:
        """Ids of the jobs that are not over."""
        return self.ask("squeue", "--noheader", "--format=%A").split()

    def kill_daemon(self, node: str) -> None:
        """As if the node's network had gone: its processes live on, and nobody answers for it."""
        with suppress(ProcessLookupError):
            os.kill(int((self.root / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)

    def start_daemon(self, node: str) -> None:
        """In cgroups of its own, as a machine has: two copies of one run on two nodes must not find each other there."""
        own = () if self.machines is None else (*_SEEING_ITS_OWN, str(self.machines.with_name(node)), str(self.machines))
        self.ask("sh", "-c", _IN_OWN_CGROUPS, f"{self.root.name}-{node}", *own, "slurmd", "-N", node)

    def fail(self, node: str) -> None:
        """The controller learns that the node is down, and ends or requeues its jobs."""
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def resume(self, node: str) -> None:
        self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def forget(self) -> None:
        """The controller no longer knows of any job, as `MinJobAge` after their ends."""
        pid = int((self.root / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: not _lives(pid))
        self.ask("slurmctld", "-c")
        _wait(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))


@contextmanager
def slurm_bed(
    root: Path,
    *,
    nodes: int = 3,
    settings: Mapping[str, object] | None = None,
    confined: str = "",
    machines: Path | None = None,
    accounting: bool = False,
) -> Iterator[SlurmBed]:
    """A cluster for the body. *root* has a short path: there are sockets in it. *settings* take the place of ours, *confined*
    are further ones of cgroup.conf."""
    bed = SlurmBed(root, machines)
    names = [f"node{number}" for number in range(1, nodes + 1)]
    keeper, database = _free_ports(2)
    _configure(root, names, {**(accounting_settings(root, keeper) if accounting else {}), **(settings or {})}, confined)
    with ExitStack() as owned:
        for name in names:  # when the daemons in them have ended
            owned.callback(_remove_cgroups, f"slurm_{name}")  # Slurm's own, with proctrack/cgroup
            owned.callback(_remove_cgroups, f"{root.name}-{name}")
        owned.callback(_end, root)
        _start_munge(root)
        if accounting:
            owned.enter_context(accounts(root, {**os.environ, **bed.environ}, port=keeper, database=database))
            owned.callback(_end, root)  # the daemon before its database
        bed.ask("slurmctld", "-c")
        for name in names:
            (root / f"spool-{name}").mkdir()
            bed.start_daemon(name)
        _wait(lambda: set(bed.ask("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").split()) == set(names))
        yield bed


def _configure(root: Path, names: list[str], settings: Mapping[str, object], confined: str) -> None:
    (root / "state").mkdir()
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(1 + len(names))
    nodes = [_NODE.format(name=name, host=host, port=port) for name, port in zip(names, ports[1:], strict=True)]
    written = _CONTROLLER.format(host=host, port=ports[0], root=root).splitlines(keepends=True)
    kept = [line for line in written if line.partition("=")[0] not in settings]
    lines = [*kept, *(f"{name}={value}\n" for name, value in settings.items()), *nodes, _PARTITION]
    (root / "slurm.conf").write_text("".join(lines))
    for number, device in enumerate(GPU_DEVICES):
        os.mknod(root / f"gpu{number}", 0o600 | 0o020000, device)
    (root / "gres.conf").write_text(f"Name=gpu File={root}/gpu[0-1]\nName=shard Count=8\n")
    plugin = "autodetect" if settings.get("ProctrackType") == "proctrack/cgroup" else "disabled"
    (root / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\nConstrainCores=no\nConstrainRAMSpace=no\n{confined}")
    (root / "munge.key").write_bytes(os.urandom(128))
    (root / "munge.key").chmod(0o600)


def _remove_cgroups(name: str) -> None:
    for top in (Path("/sys/fs/cgroup", name), *Path("/sys/fs/cgroup").glob(f"*/{name}")):
        for directory, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)


def _start_munge(root: Path) -> None:
    files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{option}={root / name}" for option, name in {**files, "seed-file": "munge.seed"}.items()]
    subprocess.run(["munged", "--force", *options], check=True, capture_output=True)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _wait(is_so) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline, "the cluster did not come up"
        time.sleep(0.05)


def _end(root: Path) -> None:
    pids = [int(path.read_text()) for path in sorted(root.glob("*.pid"), reverse=True) if path.read_text().strip()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_WITHIN_S
    while (left := [pid for pid in pids if _lives(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")

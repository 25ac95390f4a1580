"""ContainerSpec: everything about a container before it exists, as data. No I/O here.

Mounts, limits and devices are data so that they can be tested; the thin appliers are in `runtime.rootfs`, `runtime.cgroup` and
`runtime.network`.
"""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.limits import Limits
from runtime.light_dataclasses import dataclass, field
from runtime.light_typing import NamedTuple
from runtime.network.mode import NetworkMode
from runtime.network.published import PublishedPort
from runtime.rootfs.mount_spec import BindMount, DeviceNode, HostFile, LayersMount, ProcCover, Symlink, TmpfsFile, TmpfsMount


class World(NamedTuple):
    """The ranks of all machines that a program runs on, as far as one of them has to know."""

    address: str
    """Where rank 0 listens."""
    port: int
    first_rank: int
    """The number of this machine's first rank."""
    size: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    container_id: str
    layers: tuple[Path, ...]
    """Lower directories, bottom first: `Store.layer_dir(layer)` of each snapshot."""
    overlay_dir: Path
    """Directory on a real file system in which `u` (upper) and `w` (work) are made."""
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    hostname: str = "launch"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    """Supplementary groups of the program; a container with a single id has none."""
    binds: tuple[BindMount, ...] = ()
    other_layers: tuple[LayersMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    tmpfs_files: tuple[TmpfsFile, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    proc_covers: tuple[ProcCover, ...] = ()
    """Directories of /proc of which the program sees a part: /proc/driver/nvidia."""
    host_files: tuple[HostFile, ...] = ()
    """Files of a driver and sockets of its daemons."""
    links: tuple[Symlink, ...] = ()
    loader_dirs: tuple[str, ...] = ()
    """Directories of the container that its dynamic loader searches, also without LD_LIBRARY_PATH."""
    notes: tuple[str, ...] = ()
    """What of it whoever reads the run should know: a driver's daemon that is dead, a library that won't load in this image."""
    host_groups: tuple[int, ...] = ()
    """Groups of the host that the program is in, whatever *groups* says, since a device's node is theirs. An ordinary user
    keeps those that the launch was started with."""
    shm_bytes: int | None = None
    """Size of /dev/shm; None = half of the machine's memory."""
    limits: Limits = field(default_factory=Limits)
    network: NetworkMode = "none"
    network_name: str | None = None
    """With `bridge`: the named network to join instead of everybody's."""
    names: tuple[str, ...] = ()
    """What other members of a named network call it, beside its id."""
    publish: tuple[PublishedPort, ...] = ()
    """Ports that the host offers."""
    loopback_listener: bool = False
    """Whether a TCP listener on the container's 127.0.0.1 is handed out (the MLflow gateway)."""
    processes: int = 1
    """Ranks that init starts; > 1 sets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. 0: none, and the
    container stays for those who come in (`staying.py`)."""
    idle_s: float | None = None
    """With no process of its own: how long it stays without use; None is for ever."""
    gpu_idle_s: float | None = None
    """As well: how long it keeps its GPUs without use (`staying.py`); None is to its end."""
    world: World | None = None
    """Where they meet those of other machines; None: they are all."""
    awaits_tasks: bool = False
    """Whether each rank begins only when a task of a cluster's job step has brought what it finds the others by
    (`rank_tasks.py`)."""
    seen_as: tuple[int, int] | None = None
    """uid and gid that the program sees itself as, in a user namespace of its own where no other id is anything; None: *uid* and
    *gid*. What it may do to files is decided by those in any case."""
    rank_grace_s: float = 30.0
    """Seconds between SIGTERM and SIGKILL for the other ranks when one has failed."""
    rank_aliases: tuple[tuple[str, str], ...] = ()
    """Other names under which a rank has its variables too: `("SLURM_PROCID", "RANK")`."""
    build: bool = False
    """A build step: keeps the capabilities that dpkg and pip need (CHOWN, DAC_OVERRIDE, FOWNER, SETUID, SETGID, …)
    and, with a single id, lets chown and setuid succeed without effect."""
    readonly_root: bool = False
    terminal: tuple[int, int] | None = None
    """Rows and columns of a terminal of the container's own, which the program has for stdin, stdout and stderr; None: pipes.
    What is typed there comes through `exec_inside.program_terminal`."""


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How the program ended, as init recorded it. Exactly one of *code* and *signal* is set."""

    code: int | None
    signal: int | None
    peak_process_bytes: int | None = field(default=None, compare=False)
    """What the largest process of the container had in memory, at most."""
    cpu_s: float | None = field(default=None, compare=False)
    """Of all its processes."""
    at: float | None = field(default=None, compare=False)
    """When: Unix seconds, by the clock of its machine."""

    @property
    def shell_code(self) -> int:
        """The code a shell would show: the program's own, or 128 + signal."""
        return self.code if self.code is not None else 128 + (self.signal or 0)

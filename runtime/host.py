"""What can this machine do? Every answer is tried out, not guessed: in a forked child, in namespaces that end with it.

For `launch doctor` and for the test suite's `requires` marker. Nothing is left behind and no address outside is asked.
A check that fails says what to do; some failures are no fault (no GPU, not root), they only say what won't be there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.cgroup.cgroup import make_cgroup
from runtime.cgroup.hierarchies import own_hierarchies
from runtime.cgroup.limits import Limits
from runtime.errors import RuntimeFailure
from runtime.gpu.inventory import has_driver, read_gpus
from runtime.kernel import id_maps, libc, mounts, namespaces, processes, seccomp
from runtime.kernel.capabilities import PROGRAM_CAPABILITIES
from runtime.network import bridge, pasta
from runtime.rootfs.overlay import LADDER, LayerMaps, Rung, make_writable_directories, mount_overlay
from runtime.state_dir import state_dir

OLDEST_KERNEL = (5, 15)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """The answers, in the order in which a reader wants them."""

    checks: tuple[Check, ...]

    def check(self, name: str) -> Check:
        """The check called *name*. Raises KeyError for a name that is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def has(self, name: str) -> bool:
        return self.check(name).ok


def report() -> HostReport:
    """Try everything, about half a second."""
    return HostReport(tuple(check(name) for name in CHECKS))


def check(name: str) -> Check:
    """Try one thing. Raises KeyError for a name that is not in CHECKS."""
    tried = CHECKS[name](name)
    return replace(tried, advice="") if tried.ok else tried


def _tried(name: str, work: Callable[[], str], *, advice: str = "") -> Check:
    """Run *work* in a forked child; what it returns is the detail. *advice* is for failures that bring no hint of their own."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(_outcome(work, advice)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    if not answer:
        return Check(name, False, "the process that tried it was killed", advice)
    ok, detail, advice = json.loads(answer)
    return Check(name, ok, detail, advice)


def _outcome(work: Callable[[], str], advice: str) -> tuple[bool, str, str]:
    try:
        return True, work(), ""
    except RuntimeFailure as failure:
        return False, failure.message, failure.hint or advice
    except Exception as error:  # a bug, too, must become a line of the report and not a traceback in place of it
        return False, str(error), advice


def _kernel(name: str) -> Check:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    oldest = ".".join(map(str, OLDEST_KERNEL))
    return Check(name, numbers >= OLDEST_KERNEL, f"Linux {release} on {os.uname().machine}", f"Linux {oldest} or later is needed")


def _root(name: str) -> Check:
    if os.geteuid() == 0:
        return Check(name, True, "running as root: containers get an unprivileged range of ids")
    detail = f"running as uid {os.geteuid()}: containers get this user's ids, and `pasta` in place of a bridge"
    return Check(name, False, detail, "nothing to do: `launch` works without root")


def _user_namespaces(name: str) -> Check:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.user_namespace(maps), maps)
        extents = ", ".join(f"{one.inside} is {one.outside} for {one.count}" for one in maps.uids.extents)
        return f"a container's user ids: {extents}"

    return _tried(name, work)


def _apparmor(name: str) -> Check:
    switch = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    restricted = switch.exists() and switch.read_text().strip() == "1"
    if not restricted:
        return Check(name, True, "no AppArmor restriction of user namespaces")
    if os.geteuid() == 0:
        return Check(name, True, "AppArmor restricts user namespaces of ordinary users; root is not affected")
    return Check(
        name,
        False,
        "AppArmor takes the capabilities away in user namespaces of ordinary users",
        f"install /etc/apparmor.d/launch with `abi <abi/4.0>, profile launch {os.path.realpath('/proc/self/exe')} "
        "flags=(unconfined) { userns, }` and reload AppArmor, or run as root",
    )


def _new_id_map_programs(name: str) -> Check:
    program = id_maps.newuidmap_program()
    if program is None:
        advice = "`apt-get install uidmap` lets an ordinary user's containers have more than one id"
        return Check(name, False, "`newuidmap` is not installed", advice)
    kind = id_maps.choose().kind
    if os.geteuid() != 0 and kind is not id_maps.IdMapKind.SUBIDS:
        advice = "as root: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"
        return Check(name, False, "/etc/subuid and /etc/subgid grant this user nothing", advice)
    return Check(name, True, program)


def _probe_directory() -> Path:
    """LAUNCH_HOME, or the nearest directory above that exists and is ours to write: overlays depend on the file system."""
    for directory in (state_dir().root, *state_dir().root.parents):
        if os.access(directory, os.W_OK):
            return directory
    return Path(tempfile.gettempdir())


def _stack(place: Path, rungs: tuple[Rung, ...]) -> Rung:
    """Mount an overlay on *place*, as a container has it, in this (throw-away) process."""
    layer = place / "layer"
    layer.mkdir(exist_ok=True)
    make_writable_directories(place)
    maps = id_maps.choose()
    if maps.kind is id_maps.IdMapKind.RANGED:
        base = maps.uids.extents[0].outside
        swap = id_maps.swapped(base)
        shown = LayerMaps(namespaces.mapping(maps.uids, maps.gids), namespaces.mapping(swap, swap))
    else:
        shown = LayerMaps()
        namespaces.enter_user_namespace(namespaces.user_namespace(maps), maps)
    libc.unshare(namespaces.NEWNS)
    mounts.make_private()
    return mount_overlay([layer], place, maps=shown, rungs=rungs)[1]


def _with_place(name: str, work: Callable[[Path], str]) -> Check:
    """`_tried` with a temporary directory on LAUNCH_HOME's file system. Removed as root of the ids that wrote there."""
    try:
        place = Path(tempfile.mkdtemp(prefix=".launch-doctor-", dir=_probe_directory()))
    except OSError as error:
        return Check(
            name, False, f"`{_probe_directory()}` cannot be written: {error.strerror}", "set LAUNCH_HOME to a directory of yours"
        )
    with ExitStack() as undo:
        undo.callback(_remove_tree, place)
        return _tried(name, lambda: work(place))


def _remove_tree(place: Path) -> None:
    import shutil

    def work() -> None:
        shutil.rmtree(place / "w", ignore_errors=True)  # overlayfs makes `w/work` with mode 0

    maps = id_maps.choose()
    if os.geteuid() != 0:
        namespaces.within_user_namespace(maps, work)
    shutil.rmtree(place, ignore_errors=True)


def _overlay(name: str) -> Check:
    def work(place: Path) -> str:
        rung = _stack(place, LADDER)
        return f"{rung.value}, on {mounts.file_system_name(place)} below `{place.parent}`"

    return _with_place(name, work)


def _mount_api(name: str) -> Check:
    def attempt(rung: Rung) -> Check:
        return _with_place(name, lambda place: _stack(place, (rung,)).value)

    found = [check.detail for check in map(attempt, LADDER) if check.ok]
    return Check(name, bool(found), "; ".join(found) or "no way to stack layers works", "see `overlayfs`")


def _overlay_in_user_namespace(name: str) -> Check:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.user_namespace(maps), maps)
        libc.unshare(namespaces.NEWNS)
        room = mounts.new_mount("tmpfs")
        for directory in ("l", "u", "w"):
            os.mkdir(directory, dir_fd=room)
        os.fchdir(room)
        place = os.open("/tmp", os.O_PATH | os.O_CLOEXEC)
        mounts.attach(room, place)
        options: dict[str, str | None] = {"lowerdir": "l", "upperdir": "u", "workdir": "w", "userxattr": None}
        mounts.new_mount("overlay", options)
        return "overlays can be made without root"

    return _tried(name, work, advice="Linux 5.11 or later is needed; as root it doesn't matter")


def _id_mapped_mounts(name: str) -> Check:
    if os.geteuid() != 0:
        return Check(name, False, "only root can make id-mapped mounts", "nothing to do: an ordinary user needs none")

    def work(place: Path) -> str:
        maps = id_maps.choose()
        mounts.id_map(mounts.clone_tree(place), namespaces.mapping(maps.uids, maps.gids))
        return f"on {mounts.file_system_name(place)} below `{place.parent}`"

    tried = _with_place(name, work)
    advice = "set LAUNCH_HOME to a directory on ext4, xfs, btrfs or tmpfs"
    return tried if tried.ok else Check(name, False, tried.detail, tried.advice or advice)


def _proc(name: str) -> Check:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.user_namespace(maps), maps)
        libc.unshare(namespaces.NEWNS | namespaces.NEWPID)
        pid = os.fork()  # the first process of the new pid namespace may mount its /proc
        if pid == 0:
            try:
                mounts.new_mount("proc")
            except OSError as error:
                os._exit(error.errno or 1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            covered = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
            covered = [point for point in covered if point.startswith("/proc/")]
            raise OSError(status, f"no /proc of its own: {os.strerror(status).lower()}; covered here: {', '.join(covered[:5])}")
        return "a container can have its own /proc"

    advice = "inside Docker or Podman start the outer container with `--security-opt systempaths=unconfined`"
    return _tried(name, work, advice=advice)


def _network_namespaces(name: str) -> Check:
    def work() -> str:
        if os.geteuid() != 0:
            maps = id_maps.choose()
            namespaces.enter_user_namespace(namespaces.user_namespace(maps), maps)
        libc.unshare(namespaces.NEWNET)
        return "`network: none` and `network: host` work"

    return _tried(name, work)


def _bridge(name: str) -> Check:
    def work() -> str:
        if os.geteuid() == 0:
            libc.unshare(namespaces.NEWNET)
        bridge.try_out()
        legacy = Path("/proc/net/ip_tables_names")
        if legacy.exists() and "filter" in legacy.read_text().split():
            return "works; rules of iptables-legacy are in force and may drop its packets (`iptables-legacy -L FORWARD`)"
        return "`network: bridge` works (bridge, veth, nftables)"

    return _tried(name, work)


def _seccomp(name: str) -> Check:
    def work() -> str:
        processes.forbid_new_privileges()
        program = seccomp.program_bytes(PROGRAM_CAPABILITIES)
        libc.seccomp_set_filter(program)
        return f"system calls are filtered ({len(program) // 8} instructions)"

    return _tried(name, work, advice="the kernel needs CONFIG_SECCOMP_FILTER")


_PROBE_LIMITS = Limits(memory_bytes=64 << 20, cpus=1, pids=100)


def _controller(controller: str) -> Callable[[str], Check]:
    def checked(name: str) -> Check:
        def work() -> str:
            # In this child: under systemd it moves into a scope of its own, which ends with it.
            cgroup = make_cgroup(f"launch-doctor-{os.getpid()}", _PROBE_LIMITS)
            cgroup.remove()
            words = {"memory": "memory limit", "cpu": "CPUs", "pids": "processes"}
            refused = [warning for warning in cgroup.warnings if words[controller] in warning]
            if refused:
                raise RuntimeFailure(refused[0], hint=_cgroup_advice())
            directory = cgroup.controllers[controller]
            version = "v2" if directory == cgroup.unified else "v1"
            return f"{version}, below `{directory.parent}`"

        return _tried(name, work)

    return checked


def _cgroup_advice() -> str:
    if os.geteuid() == 0:
        return "inside a container: give it its own writable cgroup (`--cgroupns=private`, a rw mount of /sys/fs/cgroup)"
    if "memory" in own_hierarchies().legacy:
        return "cgroup v1 can't be given to ordinary users: boot with `systemd.unified_cgroup_hierarchy=1`, or run as root"
    return (
        "log in through systemd, whose user manager delegates cgroups; where `cpu` is missing, put "
        "`[Service] Delegate=cpu memory pids` into /etc/systemd/system/user@.service.d/delegate.conf"
    )


def _pasta(name: str) -> Check:
    """A network of a run's own for ordinary users."""
    return _tried(name, lambda: f"`network: pasta` works (`{pasta.program()}`)")


def _private(name: str) -> Check:
    """Files below may be set-user-id, and are the caller's: nobody else may come near them."""
    state = state_dir()
    for directory in (state.store, state.runs, state.cache):
        if directory.exists() and directory.stat().st_mode & 0o077:
            return Check(name, False, f"others may enter `{directory}`", f"`chmod go= {directory}`")
    return Check(name, True, "nobody else may enter the store, runs and caches")


def _linger(name: str) -> Check:
    if os.geteuid() == 0 or not Path("/run/systemd/system").is_dir():
        return Check(name, True, "detached runs outlive the login")
    import pwd

    user = pwd.getpwuid(os.geteuid()).pw_name
    if Path("/var/lib/systemd/linger", user).exists():
        return Check(name, True, f"systemd keeps the processes of `{user}` after logout")
    return Check(name, False, "systemd ends detached runs at logout", f"`loginctl enable-linger {user}`")


def _gpus(name: str) -> Check:
    if not has_driver():
        return Check(name, False, "no NVIDIA driver", "nothing to do on a machine without GPUs")
    try:
        gpus = read_gpus()
    except RuntimeFailure as failure:
        return Check(name, False, failure.message, failure.hint or "")
    return Check(name, bool(gpus), "; ".join(f"{gpu.model or 'GPU'}{f' ({gpu.trouble})' if gpu.trouble else ''}" for gpu in gpus))


CHECKS: dict[str, Callable[[str], Check]] = {
    "kernel": _kernel,
    "root": _root,
    "userns": _user_namespaces,
    "apparmor": _apparmor,
    "newuidmap": _new_id_map_programs,
    "overlayfs": _overlay,
    "mount-api": _mount_api,
    "overlay-userns": _overlay_in_user_namespace,
    "idmapped-mounts": _id_mapped_mounts,
    "proc": _proc,
    "seccomp": _seccomp,
    "cgroup-memory": _controller("memory"),
    "cgroup-cpu": _controller("cpu"),
    "cgroup-pids": _controller("pids"),
    "netns": _network_namespaces,
    "bridge": _bridge,
    "pasta": _pasta,
    "private": _private,
    "linger": _linger,
    "gpus": _gpus,
}
"""Name → what tries it. The names are the words of the tests' `requires` marker."""

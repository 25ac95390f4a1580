"""User namespaces and their ids: what takes them away from ordinary users, and what gives them more than one id."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.host.finding import Finding, Remedy, good, off, try_out
from runtime.host.machine import Machine
from runtime.kernel import id_maps, namespaces

_FIRST_SUB_ID = 100_000
_SUB_IDS = 65_536

_SWITCHES = {"user.max_user_namespaces": "28633", "kernel.unprivileged_userns_clone": "1"}
"""sysctl → a value that allows them; 0 forbids. The second is Debian's and Arch's own."""


def user_namespaces(machine: Machine) -> Finding:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
        extents = ", ".join(f"{one.inside} is {one.outside} for {one.count}" for one in maps.uids.extents)
        return f"a container's user ids: {extents}"

    return try_out(work, lambda: what_forbids(machine))


def what_forbids(machine: Machine) -> Remedy:
    """What on this machine stands in the way of a user namespace."""
    if not machine.has("/proc/self/ns/user"):
        return Remedy("the kernel was built without CONFIG_USER_NS")
    for switch, value in _SWITCHES.items():
        if machine.text(f"/proc/sys/{switch.replace('.', '/')}") == "0":
            line = f"{switch} = {value}"
            return Remedy(
                f"the sysctl `{switch}` forbids them",
                machine.as_root(f"echo {line} > /etc/sysctl.d/99-user-namespaces.conf && sysctl --system"),
            )
    if machine.has("/.dockerenv") or machine.has("/run/.containerenv"):
        return Remedy("inside Docker or Podman: start the outer container with `--security-opt seccomp=unconfined`")
    if _restricted_by_apparmor(machine):
        return Remedy("see `apparmor`")
    return Remedy()


def apparmor(machine: Machine) -> Finding:
    """Ubuntu's restriction (23.10 on): a user namespace made by an unconfined program of an ordinary user has no capabilities."""
    if not _restricted_by_apparmor(machine):
        return good("AppArmor does not restrict user namespaces here")
    if machine.uid == 0:
        return good("AppArmor restricts user namespaces of ordinary users; root is not affected")
    label = machine.text("/proc/self/attr/current")
    if label and not label.startswith("unconfined"):
        return good(f"AppArmor restricts user namespaces, and the profile `{label}` allows them")
    profile = f"abi <abi/4.0>,\nprofile launch {machine.interpreter} flags=(unconfined) {{\n  userns,\n}}\n"
    printed = profile.replace("\n", "\\n")
    return off(
        "AppArmor takes the capabilities away in user namespaces of ordinary users",
        advice=f"this allows them to whatever `{machine.interpreter}` runs; running as root needs nothing",
        command=machine.as_root(f'printf "{printed}" > /etc/apparmor.d/launch && apparmor_parser -r /etc/apparmor.d/launch'),
    )


def _restricted_by_apparmor(machine: Machine) -> bool:
    return machine.text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"


def id_map_programs(machine: Machine) -> Finding:
    """shadow's setuid programs, which write the map of a range of ids for an ordinary user."""
    found = [machine.program(name) for name in ("newuidmap", "newgidmap")]
    if None in found:
        return off(
            "`newuidmap` is not installed",
            advice="it lets an ordinary user's containers have more than one id",
            command=machine.installing("uidmap"),
        )
    programs = [path for path in found if path is not None]
    if powerless := [path for path in programs if not _has_powers(path)]:
        inside = " ".join(f"/{path.relative_to(machine.root)}" for path in powerless)
        return off(
            f"`{powerless[0].name}` has lost its set-user-id bit, as in a copied file system",
            command=machine.as_root(f"chmod u+s {inside}"),
        )
    return good(f"/{programs[0].relative_to(machine.root)}")


def _has_powers(path: Path) -> bool:
    """Debian's are set-user-id, Fedora's have file capabilities."""
    if path.stat().st_mode & stat.S_ISUID:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def subordinate_ids(machine: Machine) -> Finding:
    """Ranges in /etc/subuid and /etc/subgid (subuid(5))."""
    if machine.uid == 0:
        return good("root's containers take a range of their own")
    names = (machine.user, str(machine.uid))
    files = {name: machine.text(f"/etc/{name}") for name in ("subuid", "subgid")}
    granted = {name: id_maps.sub_ids(text, names=names) for name, text in files.items()}
    ids = [extent for extent in granted.values() if extent is not None]
    if len(ids) == len(files):
        return good(f"/etc/subuid and /etc/subgid grant `{machine.user}` {min(one.count for one in ids)} ids")
    missing = [f"/etc/{name}" for name, extent in granted.items() if extent is None]
    start = _free_from("\n".join(files.values()))
    span = f"{start}-{start + _SUB_IDS - 1}"
    options = " ".join(f"--add-{name}s {span}" for name, extent in granted.items() if extent is None)
    return off(
        f"{' and '.join(missing)} grant{'s' if len(missing) == 1 else ''} `{machine.user}` nothing: a container has one id",
        advice="most programs need no more; packages that chown are built with it, too",
        command=machine.as_root(f"usermod {options} {machine.user}"),
    )


def _free_from(text: str) -> int:
    """The first id after all ranges that somebody has."""
    ends = [_FIRST_SUB_ID]
    for line in text.splitlines():
        _owner, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if start.isdigit() and count.isdigit():
            ends.append(int(start) + int(count))
    return max(ends)

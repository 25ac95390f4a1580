"""What a Debian base is, as data: its packages, the step that configures them, and its Python. Light: every launch imports it.

CONFIGURE follows UnpackDebs and runs the packages' own scripts in a container. What scripts write that differs from run to
run is left out (caches, logs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.build.plan import LAYER_MTIME_S, DebPackage, Interpreter, RunCommand
from runtime.errors import BuildError
from runtime.oci.digest import Digest

BASE_PACKAGES = ("apt", "ca-certificates", "python3")
"""What a base has beside Debian's essential and required packages: it can run Python, speak TLS, and be extended."""

SHADOW_GID = 42
"""Group `shadow`, static in Debian (base-passwd, group.master)."""

FIRST_DAY = LAYER_MTIME_S // 86_400
"""The day of every date in an image."""

_MINIMAL = re.compile(r"python(3\.\d+)-minimal")
_UPSTREAM = re.compile(r"(?:\d+:)?(\d+\.\d+\.\d+)")

CONFIGURE_ENV = (
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PERL_HASH_SEED", "0"),
    ("PYTHONHASHSEED", "0"),
)

DROPPED = (
    "etc/machine-id",
    "etc/ssh/ssh_host_*_key*",
    "run/**",
    "tmp/**",
    "var/cache/apt/**",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/**",
    "var/lib/apt/lists/**",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/log/**",
    "var/tmp/**",
)
"""Paths that differ between two equal builds, or that hold nothing an image needs. A host key that every container of
an image has is no secret; `ssh-keygen -A` makes new ones."""

# Without SOURCE_DATE_EPOCH, for which Python writes hash-checked bytecode that reads every source at each import. It would
# have dated the accounts that scripts add, so that is done afterwards (shadow(5), third field: days since 1970). chown changes
# nothing for root; a build with one id doesn't see the group, and sed gave its new file what it saw.
_SCRIPT = f"""
unset SOURCE_DATE_EPOCH
dpkg --configure -a --force-confdef --force-confold
for file in /etc/shadow /etc/shadow-; do
    test ! -e $file || sed -i 's/^\\([^:]*:[^:]*:\\)[0-9]*:/\\1{FIRST_DAY}:/' $file
done
for file in /etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow-; do
    test ! -e $file || chown root:shadow $file
done
"""

CONFIGURE = RunCommand(
    argv=("sh", "-ec", _SCRIPT),
    env=CONFIGURE_ENV,
    label="dpkg --configure -a",
    drop=DROPPED,
)


def interpreter_of(packages: Sequence[DebPackage]) -> Interpreter:
    """The Python of a base with *packages*, known without unpacking: its .deb is pinned, so its binary is."""
    for package in packages:
        named = _MINIMAL.fullmatch(package.name)
        version = _UPSTREAM.match(package.version)
        if named is not None and version is not None:
            return Interpreter(
                executable=f"/usr/bin/python{named[1]}", version=version[1], digest=Digest(f"sha256:{package.sha256}")
            )
    raise BuildError("the base has no Python", hint="add `python3` to its packages")

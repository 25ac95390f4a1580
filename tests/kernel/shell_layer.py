"""A base for build steps: the host's shell and tools copied into a layer, since a build step has no binds."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from userland import base_layer

from runtime.layer.tree import Tree, TreeEntry, scan
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/sh\n"
PROGRAMS = "sh mkdir rm ln chmod chown cat mv touch env sleep id stat ls"
GROUP = "root:x:0:\nstaff:x:50:web\n"


def shell_layer(store: Store) -> Layer:
    """The layer: with `web` (33:44, also in group 50), whom `/srv/web` belongs to."""
    with store.staging() as staging:
        root = base_layer(staging / "root")
        for name in ("bin", "lib", "lib64", "sbin"):
            (root / "usr" / name).unlink()
            (root / "usr" / name).mkdir()
        _copy_programs(
            root, "sh", "mkdir", "rm", "ln", "chmod", "chown", "cat", "mv", "touch", "env", "sleep", "id", "stat", "ls"
        )
        (root / "etc" / "old").mkdir()
        (root / "etc" / "old" / "a").write_text("a")
        (root / "etc" / "gone").write_text("gone")
        (root / "etc" / "passwd").write_text(PASSWD)
        (root / "etc" / "group").write_text(GROUP)
        (root / "var" / "log").mkdir(parents=True)
        (root / "srv" / "web").mkdir(parents=True)
        (root / "root" / "closed").mkdir(mode=0o700, parents=True)
        for name in ("hosts", "hostname", "resolv.conf"):
            (root / "etc" / name).touch()
        return store.publish(digest_bytes(b"base"), root, Tree.of(_owned(entry) for entry in scan(root)), label="base")


def _owned(entry: TreeEntry) -> TreeEntry:
    return replace(entry, uid=33, gid=44) if entry.path.startswith("srv/web") else entry


def _copy_programs(root: Path, *names: str) -> None:
    for name in names:
        program = shutil.which(name)
        assert program is not None
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=20).stdout
        for word in (program, *(word for word in listed.split() if word.startswith("/"))):
            real = os.path.realpath(word)
            target = root / "usr" / Path(word).relative_to("/usr" if word.startswith("/usr/") else "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(real, target)
                target.chmod(0o755)

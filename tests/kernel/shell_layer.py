"""A base for build steps: the host's shell and tools copied into a layer, since a build step has no binds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from userland import base_layer

from runtime.layer.tree import Tree, TreeEntry, scan
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/sh\n"
_PROGRAMS = "sh mkdir rm ln chmod chown cat mv touch env sleep id stat ls"
GROUP = "root:x:0:\nstaff:x:50:web\n"


@cache
def program_files(names: str = _PROGRAMS) -> tuple[str, ...]:
    """The programs and the libraries that they load: asked once a session, since it takes longer than a build step."""
    programs = [found for name in names.split() if (found := shutil.which(name)) is not None]
    assert len(names.split()) == len(programs)
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True, timeout=20).stdout
    loaded = (word for word in listed.split() if word.startswith("/") and not word.endswith(":"))
    return tuple(dict.fromkeys((*programs, *loaded)))


def shell_layer(store: Store, files: Sequence[str] | None = None) -> Layer:
    """The layer: with `web` (33:44, also in group 50), whom `/srv/web` belongs to. *files* are the `program_files`."""
    with store.staging() as staging:
        root = base_layer(staging / "root")
        for name in ("bin", "lib", "lib64", "sbin"):
            (root / "usr" / name).unlink()
            (root / "usr" / name).mkdir()
        copy_programs(root, program_files() if files is None else files)
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


def copy_programs(root: Path, files: Sequence[str]) -> None:
    """Copy the host's *files*, as `program_files` gives them, below *root*."""
    for word in files:
        target = root / "usr" / Path(word).relative_to("/usr" if word.startswith("/usr/") else "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(os.path.realpath(word), target)
            target.chmod(0o755)

"""The kernel's overlayfs shows the tree that we say: random stacks of layers, mounted and compared path by path."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.layer.tree import OPAQUE_XATTRS, TreeEntry, scan
from runtime.oci.digest import digest_bytes
from runtime.store.merged_tree import merged_tree
from runtime.store.store import Layer, Store

pytestmark = [
    pytest.mark.requires("overlayfs", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for mknod and mount"),
]

# Inside: the mounted tree as (path, mode with type, link, text).
_LOOK = """
import json, os, sys
found = []
for top, directories, files in os.walk(sys.argv[1]):
    for name in directories + files:
        at = os.path.join(top, name)
        try:
            status = os.lstat(at)
        except FileNotFoundError:
            continue  # overlayfs lists a deletion in a directory that only one layer has, and then denies it
        link = os.readlink(at) if os.path.islink(at) else ""
        text = open(at).read() if os.path.isfile(at) and not link else ""
        found.append([os.path.relpath(at, sys.argv[1]), status.st_mode, link, text])
print(json.dumps(sorted(found)))
"""


@pytest.mark.parametrize("seed", range(8))
def test_random_stacks_look_as_the_kernel_shows_them(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = Store(tmp_path / "store").ensure()
    layers = [_layer(store, chance, number) for number in range(5)]
    ours = merged_tree(store, layers)
    said = [
        [entry.path, _mode(entry), entry.link, ""]
        if entry.type == "symlink"
        else [entry.path, _mode(entry), "", (ours.read(entry.path) or b"").decode()]
        for entry in ours
    ]
    assert sorted(said) == _mounted(tmp_path, [store.layer_dir(layer) for layer in layers])
    assert said


def _mode(entry: TreeEntry) -> int:
    return entry.mode | {"dir": 0o040000, "symlink": 0o120000}.get(entry.type, 0o100000)


def _layer(store: Store, chance: random.Random, number: int) -> Layer:
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        for _ in range(25):
            _put_something(root, chance, number)
        return store.publish(digest_bytes(f"{number}".encode()), root, scan(root), label=str(number))


def _put_something(root: Path, chance: random.Random, number: int) -> None:
    """A file, link, directory, deletion or replaced directory at one of a few paths, so that layers often meet."""
    parts = [chance.choice("abc") for _ in range(chance.randrange(1, 4))]
    path = root
    for part in parts[:-1]:
        path /= part
        if not path.is_dir():
            if os.path.lexists(path):
                return
            path.mkdir(chance.choice((0o755, 0o700)))
    path /= parts[-1]
    if os.path.lexists(path):
        return
    kind = chance.choice(("file", "hard", "link", "dir", "gone", "opaque"))
    if kind == "file":
        path.write_text(f"{number} {path.name}")
    elif kind == "hard":
        file = next((each for each in sorted(root.rglob("*")) if each.is_file() and not each.is_symlink()), None)
        if file is not None:
            os.link(file, path)
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "gone":
        os.mknod(path, 0o020000, 0)
    else:
        path.mkdir()
        if kind == "opaque":
            os.setxattr(path, OPAQUE_XATTRS[0], b"y")


def _mounted(tmp_path: Path, roots: list[Path]) -> list[list[object]]:
    target = tmp_path / "seen"
    target.mkdir()
    # The kernel takes one parameter of at most 256 bytes from mount(8).
    for number, root in enumerate(roots):
        (tmp_path / str(number)).symlink_to(root)
    lower = ":".join(str(number) for number in reversed(range(len(roots))))
    script = 'mount -t overlay overlay -o "ro,lowerdir=$1" "$2" && exec "$3" -c "$4" "$2"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", lower, str(target), sys.executable, _LOOK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

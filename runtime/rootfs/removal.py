"""Remove a directory that a program of a container has filled as it liked: a million levels deep, with any names and modes."""

from __future__ import annotations

import os
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(directory: Path) -> None:
    """Remove *directory* and what is below it; nothing else is written to there any more. Links are not followed.

    Not `shutil.rmtree`, which needs a Python frame and a descriptor for each level: what lies deeper is moved to the top first.
    Modes that deny an ordinary user his own directory (0555 in a layer, overlay's work directory with 0) are changed.
    """
    bound_by_modes = os.geteuid() != 0
    if bound_by_modes:
        os.chmod(directory, 0o700)
    top = os.open(directory, _DIRECTORY)
    try:
        # Random, since the names at the top are the program's. Not by `secrets`, which brings as much as all else here.
        prefix, moved, waiting = f".removed-{os.urandom(8).hex()}-", 0, [""]
        while waiting:
            name = waiting.pop()
            here = os.open(name or ".", _DIRECTORY, dir_fd=top)
            try:
                with os.scandir(here) as found:
                    entries = list(found)
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=here)
                        continue
                    if bound_by_modes:
                        os.chmod(entry.name, 0o700, dir_fd=here)
                    if name:
                        os.rename(entry.name, f"{prefix}{moved}", src_dir_fd=here, dst_dir_fd=top)
                        waiting.append(f"{prefix}{moved}")
                        moved += 1
                    else:
                        waiting.append(entry.name)
            finally:
                os.close(here)
            if name:
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(directory)


def remove_tree_of_container(directory: Path) -> None:
    """`remove_tree` where a container may have written with other ids than ours, in a process that is root over them."""
    if os.geteuid() == 0:
        remove_tree(directory)
        return
    from runtime.kernel import id_maps, namespaces

    namespaces.within_user_namespace(id_maps.choose(), lambda: remove_tree(directory))

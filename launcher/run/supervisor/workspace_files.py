"""What a program wrote in its working directory: it moves to the run's outputs before the writable layer goes.

Programs write `model.txt` and `results/` where they are; who runs them here shall not lose that. The code itself, as far as
nothing changed in it, and what tools make beside it (bytecode, caches) stay behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from launcher.plan.code.code_listing import NEVER_CODE
from launcher.plan.code.path_patterns import path_filter
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.environment import DATA
from launcher.plan.program.workdir import OUTPUTS, is_in_outputs, workspace_of
from launcher.tracking.record.regular_files import WORKSPACE, WORKSPACE_OF_NODE
from runtime.build.plan import WORKDIR, CopyIn
from runtime.container.written_files import Left, move_written
from runtime.errors import StoreError
from runtime.kernel.safe_open import make_directories, open_in_root
from runtime.oci.digest import digest_file
from runtime.state_dir import RunDir

_NO_ONES = NEVER_CODE | {".cache"}

_OF_THE_SYSTEM = frozenset(
    (
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run"),
        *("sbin", "srv", "sys", "tmp", "usr", "var", "checkpoints", "data", "outputs"),
    )
)
"""Where nobody looks for results whose working directory is `/`."""


def keep_workspace(run_dir: RunDir) -> str | None:
    """Move it, as the run's plan asks for. Says what could not be moved, or was not to be. Idempotent."""
    try:
        plan = json.loads(run_dir.plan.read_bytes())["plan"]
    except (FileNotFoundError, KeyError):
        return None  # a shell: nothing of it is kept
    workdir = plan["build"]["config"]["workdir"]
    workspace = workspace_of(workdir)
    into = WORKSPACE if run_dir.node == 0 else f"{WORKSPACE_OF_NODE}{run_dir.node}"
    left = move_written(run_dir.overlay, workspace, run_dir.outputs, into, is_wanted=_wanted(plan, workspace))
    if is_in_outputs(workdir):
        _unlink_code(run_dir.outputs, workdir)
    return _words(left, workspace)


def link_code(outputs: Path, plan: LaunchPlan) -> None:
    """Show the code in a working directory that is `/outputs` (here *outputs*), or in it: whoever says so wants what the program
    writes to be results, and its code to be found all the same. What is there already stays."""
    workdir = plan.build.config.workdir
    if not any(isinstance(step, CopyIn) for step in plan.build.steps):
        return
    with _opened_workdir(outputs, workdir) as place:
        for name in dict.fromkeys(path.partition("/")[0] for path, _, _ in plan.code.files):
            with suppress(FileExistsError):
                os.symlink(f"{WORKDIR}/{name}", name, dir_fd=place)


def _unlink_code(outputs: Path, workdir: str) -> None:
    with suppress(OSError), _opened_workdir(outputs, workdir) as place:  # its program may have done anything to it
        for name in os.listdir(place):
            with suppress(OSError):  # no link
                if os.readlink(name, dir_fd=place) == f"{WORKDIR}/{name}":
                    os.unlink(name, dir_fd=place)


@contextmanager
def _opened_workdir(directory: Path, workdir: str) -> Iterator[int]:
    """The directory of the outputs that is the working directory; a link that an earlier attempt left does not lead out."""
    with ExitStack() as opened:
        outputs = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, outputs)
        below = os.path.relpath(os.path.normpath(workdir), OUTPUTS)
        os.close(make_directories(outputs, below)[0])
        place = open_in_root(outputs, below, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, place)
        yield place


def _wanted(plan: Mapping[str, Any], workspace: str) -> Callable[[str, Path], bool | None]:
    """Whether a file is kept; None for what is nobody's loss, directories included."""
    spec = plan["spec"]
    patterns: Sequence[str] = spec["outputs"].get("workspace", ["**"])
    keeps = path_filter(patterns).keeps if patterns else lambda _: False
    code = {path: digest for path, _, digest in plan["code"]["files"]}
    mounted = _mounted(spec, workspace)

    def is_wanted(path: str, place: Path) -> bool | None:
        name = path.rstrip("/").rpartition("/")[2]
        if path.rstrip("/") in mounted or name.endswith(".pyc"):
            return None
        if path.endswith("/"):
            hidden = name in _NO_ONES or (workspace == "/" and path.rstrip("/") in _OF_THE_SYSTEM)
            return None if hidden else True
        if path in code and _digest(place) == code[path]:
            return None
        return keeps(path)

    return is_wanted


def _mounted(spec: Mapping[str, Any], workspace: str) -> frozenset[str]:
    """What was mounted in the working directory, relative to it: its mount points are ours."""
    targets = [mount["target"] or f"{DATA}/{name}" for name, mount in spec["data"].items()]
    targets += [*spec["caches"].values(), OUTPUTS]
    return frozenset(os.path.relpath(target, workspace) for target in targets)


def _digest(file: Path) -> str | None:
    try:
        return None if file.is_symlink() else digest_file(file).hex
    except (OSError, StoreError):
        return None


def _words(left: Left, workspace: str) -> str | None:
    if not left.names:
        return None
    from runtime.layer.tree import printable

    more = (left.failed or left.unwanted) - len(left.names)
    names = ", ".join(f"`{printable(name)}`" for name in left.names) + (f" and {more} more" if more > 0 else "")
    if left.failed:
        return f"lost with the working directory `{workspace}`: {names} ({left.why.lower()})"
    return f"dropped with the working directory `{workspace}`, as `outputs.workspace` says: {names}"

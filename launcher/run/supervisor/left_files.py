"""What a run left, for a container that opens it again (`launch shell RUN`): a layer above those of its image.

Outputs, checkpoints and working directory are there as they were, and may be changed: what is changed lands in the container's
writable layer, and the run's own files stay. The layer is made of hard links, since nobody writes to a lower layer.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.environment import CHECKPOINTS
from launcher.plan.program.workdir import OUTPUTS, is_in_outputs, workspace_of
from launcher.run.supervisor.workspace_files import link_code
from launcher.tracking.record.regular_files import WORKSPACE
from runtime.container.written_files import move_written
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir

_LAYER = "left"
"""In the directory of the container that opens a run."""


def layer_of_left_files(run_dir: RunDir, opened: RunDir, plan: LaunchPlan, *, uid: int) -> Path:
    """The layer of what the run *opened* left, made in *run_dir* for a program that is *uid* in its container."""
    layer = run_dir.root / _LAYER
    workdir = plan.build.config.workdir
    outputs = layer / OUTPUTS.strip("/")
    # To users other than root files of a layer are root's.
    mode = 0o777 if uid else 0o755
    _link_tree(opened.outputs, outputs, mode=mode, but=WORKSPACE)
    _link_tree(opened.checkpoints, layer / CHECKPOINTS.strip("/"), mode=mode)
    if (workspace := opened.outputs / WORKSPACE).is_dir():
        _link_tree(workspace, layer / workspace_of(workdir).strip("/"), mode=mode)
    if is_in_outputs(workdir):
        link_code(outputs, plan)
    return layer


def _link_tree(source: Path, target: Path, *, mode: int, but: str | None = None) -> None:
    """Directories anew, everything else as another name of the same; without *but* at the top. Not by recursion: a program
    decides how deep it goes."""
    waiting = [(source, target)]
    while waiting:
        directory, made = waiting.pop()
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(mode)
        with os.scandir(directory) as found:
            for entry in found:
                if directory == source and entry.name == but:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), made / entry.name))
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    _link(entry.path, made / entry.name)


def _link(source: str, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # EXDEV: somebody's outputs are elsewhere; EPERM: a file system without hard links.
        shutil.copy2(source, target, follow_symlinks=False)


def keep_changes(run_dir: RunDir) -> None:
    """What was changed below outputs and checkpoints comes among the container's own, before its writable layer goes; the layer
    goes, too. Does nothing where no run was opened. Idempotent."""
    layer = run_dir.root / _LAYER
    if not layer.is_dir():
        return
    for below, own in ((OUTPUTS, run_dir.outputs), (CHECKPOINTS, run_dir.checkpoints)):
        move_written(run_dir.overlay, below, run_dir.root, own.name, is_wanted=lambda *_: True)
    remove_tree(layer)

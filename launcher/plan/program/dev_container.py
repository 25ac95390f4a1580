"""A container to work in (`launch dev`): that of a run, without its program, its record and its end, with the code as it is now.

The code is a mount like those of `data`, under a name that no experiment can give: what the image has at its place is hidden.
For editors that enter it over SSH, VS Code's server is kept in a cache, and login shells have the image's PATH.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from launcher.config.spec import ExperimentSpec, Mount
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.environment import CHECKPOINTS, HOME
from launcher.plan.program.workdir import OUTPUTS, workspace_of
from runtime.build.debian.root_skeleton import APT_SOURCE
from runtime.build.plan import WORKDIR
from runtime.container.spec import ContainerSpec
from runtime.light_dataclasses import replace
from runtime.rootfs.mount_spec import TmpfsFile

CODE = ".code"
"""Among `data`."""
_VSCODE = ".vscode-server"
"""In the home directory; 200 MB that it downloads otherwise."""


def dev_plan(plan: LaunchPlan, *, live: bool) -> LaunchPlan:
    """*plan* for a container that is worked in: with *live* code, or with that of the moment of launch."""
    caches = {"vscode-server": f"{plan.spec.env.get('HOME', HOME)}/{_VSCODE}", **plan.spec.caches}
    spec = replace(plan.spec, tracking=None, timeout=None, retries=0, caches=caches)
    if live:
        spec = replace(spec, data={**spec.data, CODE: Mount(plan.code.root, target=code_target(plan), readonly=False)})
    own = plan.build.config
    config = replace(own, workdir=WORKDIR if own.workdir == "/" else own.workdir)
    return replace(plan, spec=spec, build=replace(plan.build, config=config))


def on_this_machine(spec: ExperimentSpec) -> ExperimentSpec:
    """*spec* of a run that may have been a cluster's."""
    return replace(spec, nodes=1, cluster=replace(spec.cluster, kind="local", mpi="none", build="here"))


def code_target(plan: LaunchPlan) -> str:
    """Where the live code lies. An image that works in `/` has its code nowhere in particular."""
    target = workspace_of(plan.build.config.workdir)
    return WORKDIR if target == "/" else target


def dev_warnings(plan: LaunchPlan) -> list[str]:
    """What live code does not have that the image's has."""
    if not plan.spec.code.setup:
        return []
    made = ", ".join(f"`{command}`" for command in plan.spec.code.setup)
    return [f"what `code.setup` made beside the code is hidden by your own files; run it yourself where you need it: {made}"]


def to_work_in(container: ContainerSpec, plan: LaunchPlan, environ: Mapping[str, str]) -> ContainerSpec:
    """It has no program, stays, and allows what package managers need, as a build step does."""
    env = container.env
    if "MLFLOW_TRACKING_URI" not in env:
        env = {**env, "MLFLOW_TRACKING_URI": "file:///tmp/mlruns"}  # else tries would leave `mlruns` in the project
    dev = plan.spec.dev
    files = (*container.tmpfs_files, *_profile(env), *_archive(container, plan, environ))
    return replace(
        container, argv=(), processes=0, env=env, tmpfs_files=files, build=True, idle_s=dev.idle, gpu_idle_s=dev.gpu_idle
    )


def _profile(env: Mapping[str, str]) -> tuple[TmpfsFile, ...]:
    """What Debian's `/etc/profile` reads after it has set a PATH of its own: editors ask a login shell for the variables."""
    if "PATH" not in env:
        return ()
    return (TmpfsFile("/etc/profile.d/launch.sh", f"export PATH={shlex.quote(env['PATH'])}\n".encode(), mode=0o444),)


def _archive(container: ContainerSpec, plan: LaunchPlan, environ: Mapping[str, str]) -> tuple[TmpfsFile, ...]:
    """The Debian archive for apt, where it can be reached and the image names none: as a build step sees it."""
    if container.network == "none":
        return ()
    from runtime.build.debian.shown_archive import archive_to_show

    shown = archive_to_show(container.layers, suite=None, archives=None, mirror=plan.spec.image.mirror, environ=environ)
    return () if shown is None else (TmpfsFile(APT_SOURCE, shown.source, mode=0o644), *shown.files)


def with_left_files(container: ContainerSpec, layer: Path) -> ContainerSpec:
    """It shows what a run left, in *layer*, where it would have its own outputs and checkpoints."""
    env = {**container.env, "LAUNCH_RESUME": str(int(any((layer / CHECKPOINTS.strip("/")).iterdir())))}
    binds = tuple(bind for bind in container.binds if bind.target not in (OUTPUTS, CHECKPOINTS))
    return replace(container, layers=(*container.layers, layer), binds=binds, env=env)

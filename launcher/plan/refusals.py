"""Refuse, before anything is built, what this machine has not, what is missing, and what launch cannot do yet."""

from __future__ import annotations

import os
from collections.abc import Mapping

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError
from launcher.plan.origins import Where, asks_for_base
from launcher.plan.program.cpu_level import read_cpu, refuse_lesser_cpu
from runtime.network.published import parse as parse_port


def refuse_unsupported(spec: ExperimentSpec, where: Where) -> None:
    """Keys of the schema that nothing stands behind yet. Each is named; none is silently ignored."""
    if spec.cluster.kind != "local":
        from launcher.plan.cluster_request import refuse_odd_requests

        refuse_odd_requests(spec, where)
    if spec.publish and spec.network == "host":
        hint = "leave out `publish`, or take `network=bridge`, `network=pasta` or `network=none`"
        raise ConfigError(
            "`publish` means nothing with `network: host`: the program's ports are this machine's",
            origin=where("publish"),
            hint=hint,
        )


def refuse_indeterminism(spec: ExperimentSpec, where: Where) -> None:
    """`deterministic` on a machine that cannot give the results that others give."""
    if spec.deterministic and spec.cluster.kind == "local":
        refuse_lesser_cpu(read_cpu(), machine=os.uname().machine, origin=where("deterministic"))


def refuse_cluster(spec: ExperimentSpec, where: Where, what: str) -> None:
    """*what* (`a sweep`) has no engine but this machine."""
    if spec.cluster.kind != "local":
        message = f"`cluster.kind: {spec.cluster.kind}` is not supported yet for {what}"
        raise ConfigError(message, origin=where("cluster.kind"), hint="`cluster=local` has it here; a single run can go there")


def refuse_one_port_for_many(spec: ExperimentSpec) -> None:
    """Trials side by side cannot have the same port of this machine."""
    fixed = [port.outside for port in map(parse_port, spec.publish) if port.outside is not None]
    if fixed and (spec.sweep is None or spec.sweep.parallel != 1):
        inside = parse_port(spec.publish[0]).inside
        hint = f"`publish=[{inside}]` takes a free one for each trial, `sweep.parallel=1` runs one at a time"
        raise ConfigError(f"trials side by side cannot all publish port {fixed[0]}", hint=hint)


def refuse_two_bases(where: Where) -> None:
    """`image.dockerfile` is the base. One that a preset of the group `image` names gives way; one that was asked for does not."""
    if asks_for_base(where):
        hint = "leave out one of them; the Dockerfile's FROM names its base"
        raise ConfigError("`image.base` and `image.dockerfile` are two bases", origin=where("image.base"), hint=hint)


def _refuse_missing_command(name: str, where: Where) -> None:
    from shutil import which  # few launches tell anybody

    if which(name) is None:
        hint = "`notify=null` tells nobody"
        raise ConfigError(f"notify: this machine has no command `{name}`", origin=where("notify"), hint=hint)


def refuse_missing(spec: ExperimentSpec, where: Where, *, environ: Mapping[str, str]) -> None:
    """Data, caches and secrets that the container would have to have, and the command that is told of the end."""
    for name, mount in spec.data.items():
        key = f"data.{name}"
        if not os.path.exists(mount.source):
            raise ConfigError(
                f"{key}: `{mount.source}` does not exist",
                origin=where(key),
                hint=f"`{key}=PATH` names it, `{key}=null` leaves it out",
            )
        if os.path.realpath(mount.source).split("/")[1] in ("proc", "sys"):
            raise ConfigError(f"{key}: `{mount.source}` is what the kernel shows, and no data", origin=where(key))
        if not os.access(mount.source, os.R_OK | (os.X_OK if os.path.isdir(mount.source) else 0)):
            raise ConfigError(f"{key}: `{mount.source}` cannot be read", origin=where(key))
        if not mount.readonly and not os.access(mount.source, os.W_OK):
            raise ConfigError(
                f"{key}: `{mount.source}` cannot be written", origin=where(key), hint=f"`{key}.readonly=true` only reads it"
            )
    if isinstance(spec.notify, tuple) and spec.cluster.kind == "local":
        _refuse_missing_command(spec.notify[0], where)
    for name in spec.secrets:
        if name not in environ:
            hint = f"`export {name}=…` before the launch, or take it out of `secrets`"
            raise ConfigError(f"secret `{name}` is not in the environment", origin=where("secrets"), hint=hint)
    _refuse_colliding_targets(spec, where)


def _refuse_colliding_targets(spec: ExperimentSpec, where: Where) -> None:
    """Two things cannot be mounted at one place, and the contract's own places are taken."""
    taken = dict.fromkeys(
        ("/", "/outputs", "/checkpoints", "/run/launch", "/run/secrets", "/proc", "/sys", "/dev"), "launch itself"
    )
    wanted = [(f"data.{name}", mount.target or f"/data/{name}") for name, mount in spec.data.items()]
    wanted += [(f"caches.{name}", target) for name, target in spec.caches.items()]
    for key, target in wanted:
        target = os.path.normpath(target)
        if target in taken:
            raise ConfigError(f"{key}: `{target}` is taken by {taken[target]}", origin=where(key))
        taken[target] = f"`{key}`"

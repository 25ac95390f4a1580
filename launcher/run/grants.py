"""What the program of a plan gets of the machine that runs it, beside processor, memory and disk: for whoever is asked about it.

A plan that was recorded elsewhere is a stranger's program. That it is the one that was recorded (`recorded_elsewhere.py`) says
nothing about what it does; what can be said is what it will get. The container keeps it from everything else (isolation.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from launcher.plan.launch_plan import LaunchPlan
from runtime.build.plan import RunCommand
from runtime.plurals import counted


class Grant(NamedTuple):
    """One thing that it gets."""

    key: str
    """Of the configuration: who sets it on the command line gives something else, or knows what is given."""
    kind: str
    words: str


def grants(plan: LaunchPlan, *, recorded_at: str, typed: Sequence[str]) -> list[Grant]:
    """What *plan*, from the record at the address *recorded_at*, gets and the overrides *typed* did not give."""
    keys = {text.lstrip("+").partition("=")[0] for text in typed}
    return [grant for grant in _all_of(plan, recorded_at) if not _is_given(grant.key, keys)]


def _is_given(key: str, keys: set[str]) -> bool:
    return key in keys or f"{key}.source" in keys or key.partition(".")[0] in keys


def _all_of(plan: LaunchPlan, recorded_at: str) -> Iterator[Grant]:
    spec = plan.spec
    for name in spec.secrets:
        yield Grant("secrets", "secret", f"{name}, from this shell")
    for name, mount in spec.data.items():
        yield Grant(f"data.{name}", "reads" if mount.readonly else "writes", mount.source)
    for name in spec.caches:
        yield Grant(f"caches.{name}", "writes", f"the cache `{name}`, which your own runs use too")
    yield from _devices_of(plan)
    yield from _network_of(plan)
    yield from _places_of(plan, recorded_at)


def _devices_of(plan: LaunchPlan) -> Iterator[Grant]:
    if plan.gpus:
        yield Grant("gpus", "device", counted(plan.gpus, "GPU"))
    for name in plan.spec.devices:
        yield Grant("devices", "device", name)


def _network_of(plan: LaunchPlan) -> Iterator[Grant]:
    spec = plan.spec
    if spec.network == "host":
        yield Grant("network", "network", "host: this machine's own, with what listens on its loopback")
    elif spec.network != "none":
        yield Grant("network", "network", f"{spec.network}: what this machine reaches")
    for port in spec.publish:
        yield Grant("publish", "network", f"port {port}, open to others")
    connected = [step for step in plan.build.all_steps if isinstance(step, RunCommand) and step.network != "none"]
    if connected:
        first = connected[0].label or " ".join(connected[0].argv)
        yield Grant("image", "build", f"{counted(len(connected), 'command')} with a network, the first: {first}")


def _places_of(plan: LaunchPlan, recorded_at: str) -> Iterator[Grant]:
    """Where the run and its record go, with this user's rights."""
    spec = plan.spec
    tracking, cluster = spec.tracking, spec.cluster
    if tracking is not None and tracking.uri is not None and tracking.uri.rstrip("/") != recorded_at.rstrip("/"):
        yield Grant("tracking.uri", "record", f"goes to {tracking.uri}, with this shell's credentials for MLflow")
    if tracking is not None and tracking.scope == "server":
        yield Grant("tracking.scope", "MLflow", "all of the server, also others' runs and models")
    if cluster.kind != "local":
        options = "".join(f" --{name}={value}" for name, value in cluster.sbatch.items())
        yield Grant("cluster", "cluster", f"a job of {cluster.kind}{options}")
        for line in cluster.setup:
            yield Grant("cluster.setup", "cluster", f"runs on the node, outside of any container: {line}")

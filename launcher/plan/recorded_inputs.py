"""The inputs of a recorded plan, as they are now: is the data there, and is it still that data? Builds and starts nothing."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.errors import Origin
from launcher.plan.launch_plan import DataPin, LaunchPlan
from launcher.plan.origins import origin_of
from launcher.plan.refusals import refuse_missing
from runtime.state_dir import StateDir


def refuse_missing_inputs(plan: LaunchPlan, *, environ: Mapping[str, str]) -> None:
    """Data and secrets that the run had, and this machine or this shell hasn't."""

    def where(key: str) -> Origin | None:
        return origin_of(plan.origins, key)

    refuse_missing(plan.spec, where, environ=environ)


def changed_data(plan: LaunchPlan, *, state: StateDir) -> tuple[str, ...]:
    """What is to be said about each `data.NAME` that isn't what it was; empty when all of it is."""
    pins = data_now(plan, state=state)
    return tuple(_change(name, plan.data[name], pin) for name, pin in pins.items() if not _is_same(plan.data[name], pin))


def data_now(plan: LaunchPlan, *, state: StateDir) -> dict[str, DataPin]:
    """The data of *plan* pinned as it is now."""
    if not plan.data:
        return {}
    from launcher.plan.data_pin import pin_data

    return {name: pin_data(plan.spec.data[name].source, cache_dir=state.cache) for name in plan.data}


def _is_same(before: DataPin, now: DataPin) -> bool:
    return (before.digest, before.kind) == (now.digest, now.kind)


def _change(name: str, before: DataPin, now: DataPin) -> str:
    sizes = f"{before.files} files with {before.size_bytes} bytes then, {now.files} with {now.size_bytes} now"
    known = "" if before.kind == "content" else " (its names, sizes and times are compared: it was too much to read)"
    return f"`data.{name}` (`{now.source}`) has changed since: {sizes}{known}"

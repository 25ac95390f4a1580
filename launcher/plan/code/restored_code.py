"""The code of a recorded run, from its `code.tar`: the directory it was taken from may have changed, or be on another machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launcher.plan.launch_plan import LaunchPlan
from runtime.build.plan import CopyIn, Step
from runtime.layer.extract import extract
from runtime.rootfs.removal import remove_tree


def with_restored_code(plan: LaunchPlan, archive: Path, *, cache_dir: Path) -> LaunchPlan:
    """*plan* with code that is read from *archive*; as it was when there is none. Each file is checked when it is copied."""
    if not archive.is_file() or not plan.code.files:
        return plan
    place = cache_dir / "code" / plan.code.digest.hex
    if not place.is_dir():
        partial = place.with_name(f".{place.name}")
        if partial.is_dir():
            remove_tree(partial)
        partial.mkdir(mode=0o700, parents=True)
        with archive.open("rb") as stream:
            extract(stream, partial)
        partial.rename(place)
    steps = tuple(_read_from(step, place) for step in plan.build.steps)
    return replace(plan, build=replace(plan.build, steps=steps))


def _read_from(step: Step, place: Path) -> Step:
    return replace(step, source=str(place / step.target.lstrip("/"))) if isinstance(step, CopyIn) else step

"""Stages of a plan: built when a step needs them, each step once, also by many builds at a time."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from copied import context

from runtime.build.builder import build
from runtime.build.cache_key import plan_key, stage_digests, step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import (
    BuildPlan,
    CopyFiles,
    ImageConfig,
    ImportImage,
    InlineFiles,
    InstallWheel,
    MakeDirectory,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
)
from runtime.build.step_states import explain
from runtime.errors import BuildError
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store


class Told(NullObserver):
    def __init__(self) -> None:
        self.made: list[str] = []
        self.cached: list[str] = []

    def step_started(self, step: Step) -> None:
        self.made.append(getattr(step, "label", ""))

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        self.cached.append(getattr(step, "label", ""))


def write(name: str, text: str, target: str = "/out/", **more: object) -> CopyFiles:
    return CopyFiles(InlineFiles(((name, text),)), target, label=f"write {name}", **more)  # type: ignore[arg-type]


def take(stage: int, *patterns: str, target: str = "/app/") -> CopyFiles:
    return CopyFiles(StageFiles(stage, patterns), target, label=f"take {stage}")


def plan_of(*steps: Step, stages: tuple[tuple[Step, ...], ...] = ()) -> BuildPlan:
    return BuildPlan(steps, ImageConfig(), stages=stages)


def test_a_stage_is_built_for_the_step_that_needs_it_and_no_other_is(store: Store) -> None:
    told = Told()
    plan = plan_of(take(1, "out"), stages=((write("unused", "u"),), (write("a", "1"), write("b", "2"))))
    image = build(plan, store, observer=told).image
    assert ["take 1", "write a", "write b"] == told.made
    assert {"app", "app/a", "app/b"} == {entry.path for entry in store.tree_of(image.layers[0])}


def test_a_stage_may_take_from_an_earlier_one_and_is_built_once(store: Store) -> None:
    told = Told()
    stages = ((write("a", "1"),), (take(0, "out/a", target="/second/"),))
    plan = plan_of(take(0, "out/a"), take(1, "second/a", target="/b/"), stages=stages)
    build(plan, store, observer=told)
    assert ["take 0", "write a", "take 1", "take 0"] == told.made


def test_a_step_that_is_there_needs_no_stage(store: Store) -> None:
    plan = plan_of(take(0, "out/a"), stages=((write("a", "1"),),))
    build(plan, store)
    told = Told()
    build(replace(plan, config=ImageConfig(env={"A": "1"})), store, observer=told)
    assert ([], ["take 0"]) == (told.made, told.cached)


def test_a_stage_that_changed_what_nobody_takes_ends_in_the_same_layers(store: Store) -> None:
    stage = (write("a", "1"), write("b", "1"))
    first = build(plan_of(take(0, "out/a"), stages=(stage,)), store).image
    told = Told()
    second = build(plan_of(take(0, "out/a"), stages=((stage[0], write("b", "2")),)), store, observer=told).image
    assert first.digest == second.digest
    assert (["take 0", "write b"], ["write a"]) == (told.made, told.cached)


def test_what_a_stage_is_made_of_is_in_the_key_of_who_takes_from_it() -> None:
    plan = plan_of(take(0, "out/a"), stages=((write("a", "1"),),))
    other = plan_of(take(0, "out/a"), stages=((write("a", "2"),),))
    keys = [step_key(one.steps[0], None, stage_digests(one)) for one in (plan, other)]
    assert keys[0] != keys[1]
    assert plan_key(plan) != plan_key(other)
    mounts = (RunMount("bind", "/src", stage=0),)
    runs = [step_key(RunCommand(("make",), mounts=mounts), None, stage_digests(one)) for one in (plan, other)]
    assert runs[0] != runs[1]


def test_a_command_without_mounts_has_a_small_key() -> None:
    from runtime.build.cache_key import key_fields

    assert {"kind", "version", "argv", "env", "network", "drop", "parent"} == set(key_fields(RunCommand(("a",)), None))


def test_where_a_context_lies_is_in_no_key(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    steps = [CopyFiles(context(tmp_path / name, "a", single=True), "/a") for name in ("1", "2")]
    assert step_key(steps[0], None) == step_key(steps[1], None)
    mounts = [(RunMount("bind", "/src", context=f"/{name}", files=(("a", 0o644, "0"),)),) for name in ("1", "2")]
    assert step_key(RunCommand(("a",), mounts=mounts[0]), None) == step_key(RunCommand(("a",), mounts=mounts[1]), None)


def test_two_images_in_one_stage_are_refused_and_one_in_each_is_fine(store: Store) -> None:
    imported = ImportImage("oci:/nowhere", digest_bytes(b"x"))
    with pytest.raises(BuildError, match="more than one image into one stage"):
        build(plan_of(write("a", "1"), stages=((imported, imported),)), store)
    build(plan_of(write("a", "1"), stages=((imported,), (imported,))), store)  # nobody needs them


def test_wheels_in_a_stage_are_refused(store: Store) -> None:
    wheel = InstallWheel("a", "1", "0" * 64, "a.whl", "cpython", "3.13")
    with pytest.raises(BuildError, match="stage 0 installs wheels"):
        build(plan_of(take(0, "x"), stages=((wheel,),)), store)


def test_every_step_has_a_layer_when_the_image_is_found_again(store: Store) -> None:
    plan = plan_of(write("a", "1"), MakeDirectory("/out"), take(0, "out/a"), stages=((write("a", "1"),),))
    first = build(plan, store)
    again = build(plan, store)
    assert [step.layer for step in first.steps] == [step.layer for step in again.steps]
    assert (True, True) == (again.cached, all(step.cached for step in again.steps))
    assert [plan.steps] * 2 == [tuple(step.step for step in result.steps) for result in (first, again)]


def test_explain_sees_stages_and_what_ends_in_a_known_layer(store: Store, tmp_path: Path) -> None:
    copy = CopyFiles(context(tmp_path, "a", single=True), "/srv/a")
    plan = plan_of(write("x", "1"), copy, take(0, "out/a"), stages=((write("a", "1"),),))
    assert [None] * 3 == [state.layer for state in explain(plan, store)]
    build(plan, store)
    assert [] == [state for state in explain(plan, store) if state.layer is None]
    build(plan_of(write("x", "2")), store)
    changed = replace(plan, steps=(write("x", "2"), *plan.steps[1:]))
    # The last would have to be done to know it: it depends on what a stage holds.
    assert [True, True, False] == [state.layer is not None for state in explain(changed, store)]


def crowd_plan(number: int) -> BuildPlan:
    """One of some plans that overlap: two stages that all have, of which each takes, and one step of its own in four kinds."""
    stages = (
        tuple(write(f"file{each}", "x" * 1000 * each) for each in range(6)),
        (take(0, "out/*", target="/again/"), write("more", "y", "/again/")),
    )
    return plan_of(
        write("base", "b"), take(1, "again"), take(0, "out/file1", target="/one/"), write("own", f"{number % 4}"), stages=stages
    )


class Written(NullObserver):
    """Writes the steps that were made to a file: a build in a process of its own tells so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def step_started(self, step: Step) -> None:
        with self._path.open("a") as file:
            file.write(f"{getattr(step, 'label', '')} {getattr(step, 'target', '')}\n")


def built_in_a_child(number: int, store: Store, told: Path, gate: tuple[int, int]) -> int:
    """The number of a process that builds plan *number* of the crowd once the gate's writing end is closed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(gate[1])
            os.read(gate[0], 1)
            build(crowd_plan(number), Store(store.root), observer=Written(told / str(number)))
            code = 0
        except BaseException:
            (told / f"{number}.failed").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return pid


def test_a_hundred_builds_at_once_do_each_step_once(store: Store, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    gate = os.pipe()
    children = [built_in_a_child(number, store, told, gate) for number in range(100)]
    for end in gate[::-1]:
        os.close(end)
    for pid in children:
        os.waitpid(pid, 0)
    assert [] == [path.read_text() for path in told.glob("*.failed")]
    made = [line for path in told.iterdir() for line in path.read_text().splitlines()]
    own = [line for line in made if line.startswith("write own")]
    others = [line for line in made if not line.startswith("write own")]
    assert 4 == len(own)
    assert sorted(set(others)) == sorted(others), "no step twice"
    assert 4 == len(store.images())
    assert [] == [name for name in os.listdir(store.root / "tmp") if not name.startswith(".")]
    assert [] == os.listdir(store.root / "locks")

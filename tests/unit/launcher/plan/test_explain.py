"""`launch plan`: for each layer whether it is there, and why not; compared with the last build of the experiment."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from sample_plan import PLAN

from launcher.plan.explain import Explanation, explain
from launcher.plan.images.recipe import attach_recipe
from launcher.plan.launch_plan import LaunchPlan
from runtime.build.builder import build
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, InstallWheel, RunCommand, Step
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_json
from runtime.store.store import Store

HUMANIZE = InstallWheel("humanize", "4.13.0", "b" * 64, "humanize-4.13.0.whl", "cpython-3.13.5-abc", "3.13")


def code(tmp_path: Path, target: str = "/workspace", **files: str) -> CopyIn:
    source = tmp_path / "code" / digest_json([target, files]).short
    source.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, text in sorted(files.items()):
        (source / f"{name}.py").write_text(text)
        listed.append((f"{name}.py", 0o644, hashlib.sha256(text.encode()).hexdigest()))
    return CopyIn(str(source), tuple(listed), target, digest_json(listed))


def planned(*steps: Step, **config: str) -> LaunchPlan:
    return replace(PLAN, build=BuildPlan(steps, ImageConfig(env=config)))


def was_built(plan: LaunchPlan, store: Store, *, recorded: LaunchPlan | None = None) -> None:
    image = build(plan.build, store).image
    store.name_image(image, plan.spec.name)
    attach_recipe(image, store, build=plan.build, plan=recorded or plan)


def whys(explained: Explanation) -> list[list[str]]:
    return [layer["why"] for layer in explained.to_json()["layers"]]


def test_a_first_build_has_nothing_to_compare_with(store: Store, tmp_path: Path) -> None:
    explained = explain(planned(code(tmp_path, train="1"), RunCommand(("make",)), RunCommand(("test",))), store)
    waits = ["depends on a layer below that has to be built first"]
    assert [["was never built here"], waits, waits] == whys(explained)
    assert explained.changes is None
    assert "there is no earlier build of this experiment here" in explained.text()


def test_each_miss_says_what_changed_and_the_top_says_it_all(store: Store, tmp_path: Path) -> None:
    data, gone = code(tmp_path, "/data", a="1"), code(tmp_path, "/gone", a="1")
    was_built(planned(data, gone, code(tmp_path, train="1"), A="1"), store)
    explained = explain(planned(data, HUMANIZE, code(tmp_path, train="2"), A="2"), store)
    assert [[], ["requirements: + humanize 4.13.0"], ["code: train.py changed"]] == whys(explained)
    said = ["requirements: + humanize 4.13.0", "code: train.py changed", "code: - /gone", "env: A changed from `1` to `2`"]
    assert said == explained.to_json()["changes"]
    assert f"  changed  {'; '.join(said)} (since image {explained.last.digest.short})" == explained.text().splitlines()[1]
    assert "          code: train.py changed" in explained.text().splitlines()


def test_a_hit_has_no_reason_even_if_the_last_build_was_another(store: Store, tmp_path: Path) -> None:
    first, second = planned(code(tmp_path, train="1")), planned(code(tmp_path, train="2"))
    was_built(first, store)
    was_built(second, store)
    explained = explain(first, store)
    assert ([[]], ("code: train.py changed",)) == (whys(explained), explained.changes)
    assert "is there, nothing to build" in explained.text()


def test_an_image_that_differs_in_its_configuration_alone_has_nothing_to_build(store: Store, tmp_path: Path) -> None:
    was_built(planned(code(tmp_path, train="1"), A="1"), store)
    text = explain(planned(code(tmp_path, train="1"), A="2"), store).text()
    assert "image: every layer is there, only the configuration is new" in text
    assert "  changed  env: A changed from `1` to `2` (since" in text


def test_a_command_on_changed_layers_names_what_changed_below_it(store: Store, tmp_path: Path) -> None:
    before, make = code(tmp_path, train="1"), RunCommand(("make",))
    # A command needs a container: the recipe alone says that it was there.
    was_built(planned(before), store, recorded=planned(before, make))
    explained = explain(planned(code(tmp_path, train="2"), make), store)
    assert [["code: train.py changed"], ["is made on what changed below: code"]] == whys(explained)


def test_a_command_on_layers_that_were_made_again_with_another_content(store: Store, tmp_path: Path) -> None:
    before, make = code(tmp_path, train="1"), RunCommand(("make",))
    was_built(planned(before), store, recorded=planned(before, make))
    assert [[], ["nothing changed in it, but the layers below are others than before"]] == whys(
        explain(planned(before, make), store)
    )


def test_a_layer_that_was_removed(store: Store, tmp_path: Path) -> None:
    plan = planned(code(tmp_path, train="1"))
    was_built(plan, store)
    for layer in (store.root / "layers").iterdir():
        shutil.rmtree(layer)
    explained = explain(plan, store)
    assert [["nothing changed, but its layer is no longer in the store"]] == whys(explained)
    assert "  changed  nothing (since image" in explained.text()


@pytest.mark.parametrize("recipe", [pytest.param(None, id="none"), pytest.param(b"{}", id="of another version")])
def test_an_image_without_a_recipe_is_not_guessed_about(store: Store, tmp_path: Path, recipe: bytes | None) -> None:
    image = build(planned(code(tmp_path, train="1")).build, store).image
    store.name_image(image, PLAN.spec.name)
    if recipe is not None:
        store.attach(image, "recipe", recipe)
    explained = explain(planned(code(tmp_path, train="2")), store)
    assert [["was never built here"]] == whys(explained)
    assert "has no recipe to compare with" in explained.text()

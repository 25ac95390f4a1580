"""`launch images show` and `history`: what there is to know about an image."""

from __future__ import annotations

import pytest
from image_maker import image_of
from sample_plan import PLAN

from launcher.plan.images.image_facts import image_facts, image_history
from launcher.plan.images.recipe import attach_recipe
from runtime.light_dataclasses import replace
from runtime.store.in_use import pin
from runtime.store.store import Store


def test_an_image_with_all_its_facts(store: Store) -> None:
    image = image_of(store, {"a": "1"}, {"b": "22"}, config={"User": "ada"})
    other = image_of(store, {"a": "1"}, {"c": "1"})
    store.name_image(image, "digits")
    store.name_image(image, "also/digits")
    store.name_image(other, "other")
    store.attach(image, "pushed", b'[{"reference": "localhost:5000/digits:1"}]')
    attach_recipe(image, store, build=PLAN.build, plan=PLAN)
    facts = image_facts(image, store)
    assert (["also/digits", "digits"], {"User": "ada"}, "linux/amd64") == (facts["names"], facts["config"], facts["platform"])
    assert [["other"], []] == [layer["shared_with"] for layer in facts["layers"]]
    assert image.layers[0].size_bytes == facts["shared_bytes"] < facts["size_bytes"]
    assert "sample" == facts["recipe"]["experiment"]
    assert (["localhost:5000/digits:1"], PLAN.base_digest) == (
        [each["reference"] for each in facts["pushed"]],
        facts["base"]["digest"],
    )
    pin(store, image)
    assert (False, True) == (facts["pinned"], image_facts(image, store)["pinned"])


@pytest.mark.parametrize("recipe", [pytest.param(None, id="none"), pytest.param(b"{}", id="of another version")])
def test_an_image_that_was_not_built_here_has_no_recipe(store: Store, recipe: bytes | None) -> None:
    image = image_of(store, {"a": "1"})
    if recipe is not None:
        store.attach(image, "recipe", recipe)
    facts = image_facts(image, store)
    assert (None, None, []) == (facts["recipe"], facts["base"], facts["pushed"])


def test_history_gives_each_step_its_layer_and_those_without_files_none(store: Store) -> None:
    history = [
        {"created_by": "COPY a /"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "COPY b /", "comment": "x"},
    ]
    image = image_of(store, {"a": "1"}, {"b": "1"}, history=history)
    found = image_history(image)
    assert [("COPY a /", 0, False), ("ENV A=1", None, True), ("COPY b /", 1, False)] == [
        (step["created_by"], step["layer"], step["empty"]) for step in found
    ]
    assert [image.layers[0].size_bytes, 0, image.layers[1].size_bytes] == [step["size_bytes"] for step in found]


def test_layers_that_the_history_does_not_mention_are_shown_by_their_label(store: Store) -> None:
    image = image_of(store, {"a": "1"}, {"b": "1"}, history=[{"created_by": "one"}])
    assert ["one", "layer of 1"] == [step["created_by"] for step in image_history(image)]
    assert 2 == len(image_history(image_of(store, {"a": "1"}, {"b": "1"}, history=None)))


def test_layers_that_share_one_of_the_manifest_are_named(store: Store) -> None:
    image = image_of(store, {"a": "1"}, {"b": "1"})
    joined = replace(image, groups=((0, 1),), manifest={"layers": image.manifest["layers"][:1]})
    (step,) = image_history(joined)
    assert ["layer of 1", "layer of 1"] == step["made_of"]


def test_a_layer_that_came_with_an_image_is_what_its_history_says(store: Store) -> None:
    history = [{"created_by": "ADD rootfs /"}, {"created_by": "ENV A=1", "empty_layer": True}, {"created_by": "RUN make"}]
    image = image_of(store, {"a": "1"}, {"b": "1"}, history=history)
    imported = replace(image, layers=(replace(image.layers[0], label="imported layer 1 (0123)"), image.layers[1]))
    assert ["ADD rootfs /", "layer of 1"] == [layer["label"] for layer in image_facts(imported, store)["layers"]]

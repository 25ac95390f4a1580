"""What is kept beside an image: enough to make it again, and nothing that is secret."""

from __future__ import annotations

import pytest
from sample_plan import PLAN

from launcher.config.spec import Index
from launcher.plan.images.recipe import RECIPE, Recipe, attach_recipe, read_recipe
from launcher.plan.launch_plan import GitState, LaunchPlan
from runtime.build.builder import build
from runtime.build.plan import BuildPlan, ImageConfig, MakeVenv
from runtime.errors import StoreError
from runtime.light_dataclasses import replace
from runtime.store.records import Image
from runtime.store.store import Store

SECRET = "hunter2@home"


@pytest.fixture
def image(store: Store) -> Image:
    return build(build_plan(), store).image


def build_plan() -> BuildPlan:
    return BuildPlan(steps=(MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5"),), config=ImageConfig())


def recipe_of(image: Image, store: Store) -> Recipe:
    found = read_recipe(image, store)
    assert found is not None
    return found


def with_secrets(plan: LaunchPlan) -> LaunchPlan:
    address = f"https://ada:{SECRET}@index.example/simple"
    spec = replace(
        plan.spec,
        env={"API_KEY": SECRET},
        image=replace(
            plan.spec.image, mirror=f"http://u:{SECRET}@deb.example/debian", index=Index(url=address, extra_urls=(address,))
        ),
    )
    git = GitState(commit="0" * 40, branch="main", dirty=True, remote_url=address, diff=f"+{SECRET}")
    overrides = (f"image.index.url={address}", f"env.API_KEY={SECRET}")
    return replace(plan, spec=spec, code=replace(plan.code, git=git), overrides=overrides, origins={"env.API_KEY": overrides[1]})


def test_an_experiments_recipe_gives_its_build_plan_back(store: Store, image: Image) -> None:
    plan = PLAN
    attach_recipe(image, store, build=plan.build, plan=plan)
    found = recipe_of(image, store)
    assert found.plan is not None
    assert (plan.build, plan.lock, plan.code.files) == (found.build, found.plan.lock, found.plan.code.files)


def test_an_image_without_an_experiment_has_its_build_plan_as_recipe(store: Store, image: Image) -> None:
    attach_recipe(image, store, build=build_plan())
    found = recipe_of(image, store)
    assert (build_plan(), None) == (found.build, found.plan)


def test_no_password_gets_into_a_recipe(store: Store, image: Image) -> None:
    plan = with_secrets(PLAN)
    attach_recipe(image, store, build=plan.build, plan=plan)
    kept = store.attached(image, RECIPE)
    assert SECRET.encode() not in (kept or SECRET.encode())
    found = recipe_of(image, store)
    assert found.plan is not None
    assert "https://index.example/simple" == found.plan.spec.image.index.url


def test_what_is_part_of_the_image_keeps_its_every_character(store: Store, image: Image) -> None:
    """An address with a password in `image.env` is in the image's configuration: without it the digest would be another one."""
    address = f"redis://:{SECRET}@cache.example/0"
    plan = replace(build_plan(), config=ImageConfig(env={"CACHE": address}))
    attach_recipe(image, store, build=plan)
    found = recipe_of(image, store)
    assert {"CACHE": address} == found.build.config.env


def test_the_first_recipe_stays(store: Store, image: Image) -> None:
    attach_recipe(image, store, build=build_plan())
    first = store.attached(image, RECIPE)
    attach_recipe(image, store, build=replace(build_plan(), source_date_epoch_s=7))
    assert first == store.attached(image, RECIPE)


def test_an_image_without_a_recipe_has_none(store: Store, image: Image) -> None:
    assert read_recipe(image, store) is None


def test_a_recipe_of_another_time_is_named(store: Store, image: Image) -> None:
    store.attach(image, RECIPE, b'{"format": 99}')
    with pytest.raises(StoreError, match=r"recipe of image .* cannot be read"):
        read_recipe(image, store)

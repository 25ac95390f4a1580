"""A rerun with requirements more: what was locked stays. With the real uv, against a directory of wheels."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_plan import PLAN
from wheel_project import Project, names

from launcher.config.spec import Index
from launcher.errors import ConfigError
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.requirements.added_requirements import with_requirements
from runtime.build.plan import InstallWheel
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def plan(project: Project) -> LaunchPlan:
    """Of a run that had the older of two versions of `lib`."""
    image = replace(PLAN.spec.image, requirements=("lib<1.1",), index=Index())
    wheel = InstallWheel("lib", "1.0", "c" * 64, "lib-1.0-py3-none-any.whl", "cpython-3.13.5-abc", "3.13")
    steps = tuple(wheel if isinstance(step, InstallWheel) else step for step in PLAN.build.steps)
    lock = project.resolve("lib<1.1")
    return replace(PLAN, spec=replace(PLAN.spec, image=image), lock=lock, build=replace(PLAN.build, steps=steps))


def more(plan: LaunchPlan, project: Project, *requirements: str) -> LaunchPlan:
    state = StateDir(project.directory / "state").ensure()
    return with_requirements(plan, requirements, state=state, cwd=project.directory, environ=project.environ)


def test_what_was_locked_stays_and_the_new_wheels_lie_on_top(plan: LaunchPlan, project: Project) -> None:
    again = more(plan, project, "app")
    assert again.lock is not None
    assert ["lib 1.0", "app 1.0"] == names(again.lock)
    before, after = plan.build.steps, again.build.steps
    at = max(number for number, step in enumerate(before) if isinstance(step, InstallWheel)) + 1
    assert (before[:at], before[at:]) == (after[:at], after[at + 1 :])
    assert ("app", "/opt/venv2") == (after[at].name, after[at].prefix) if isinstance(after[at], InstallWheel) else False
    assert ("app",) == again.spec.image.groups["with"].requirements
    assert again.spec_digest != plan.spec_digest
    assert "command line: --with app" == again.origins["image.groups.with.requirements"]


def test_what_is_there_already_changes_no_wheel(plan: LaunchPlan, project: Project) -> None:
    assert plan.build == more(plan, project, "lib").build


@pytest.mark.parametrize(
    ("requirement", "words"), [("lib>1.0", "beside what the run had"), ("nowhere", "nowhere"), ("app>>1", "is not a requirement")]
)
def test_what_cannot_be_had_beside_it_is_refused(plan: LaunchPlan, project: Project, requirement: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        more(plan, project, requirement)
    assert f"--with '{requirement}'" in str(refusal.value.origin) or requirement in str(refusal.value.origin)


def test_an_image_with_packages_of_its_base_is_left_alone(plan: LaunchPlan, project: Project) -> None:
    assert plan.lock is not None
    for other in (replace(plan, lock=None), replace(plan, lock=replace(plan.lock, provided=(("torch", "2.5"),)))):
        with pytest.raises(ConfigError, match="nothing can be added to the image of the record"):
            more(other, project, "app")

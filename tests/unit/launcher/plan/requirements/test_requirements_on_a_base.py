"""Resolving on a base that has packages: what it has is taken, kept or replaced, and never asked of an index."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from wheel_project import PLATFORM, Project, make_wheel, names

from launcher.plan.bases.base_packages import HEAVY_BYTES, BasePackage, check_packages, from_rows, packages_digest, to_rows
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.launch_plan import Lock
from launcher.plan.requirements.lock_file import current_lock, lock_file_text, pylock_text
from launcher.plan.requirements.requirement_lines import RequirementRequest, read_requirements
from launcher.plan.requirements.resolve import request_digest
from launcher.plan.requirements.stub_wheels import StubWheels
from launcher.plan.requirements.target import parse_target

LARGE = BasePackage("big", "2.5.1+cu124", size_bytes=HEAVY_BYTES)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    for version in ("1.0", "3.0"):
        make_wheel(made.wheels, "big", version)
    make_wheel(made.wheels, "vision", "1.0", requires=("big==2.5.1",))
    make_wheel(made.wheels, "vision", "2.0", requires=("big==3.0",))
    return made


def taken(lock: Lock) -> list[str]:
    return [" ".join(each) for each in lock.provided]


def test_what_the_base_has_is_taken_before_anything_newer(project: Project) -> None:
    lock = project.resolve("app", installed=(BasePackage("lib", "1.0"),))
    assert (["app 1.0"], ["lib 1.0"], ()) == (names(lock), taken(lock), lock.replaced)
    assert lock.digest != project.resolve("app", "lib==1.0").digest


def test_a_version_that_no_index_has_is_taken(project: Project) -> None:
    for version in ("7+local", "2.6.0a0+ecf3bae40a.nv25.1", "1.5.dev3"):
        assert [f"lib {version}"] == taken(project.resolve("lib>=1", installed=(BasePackage("lib", version),)))


def test_another_version_is_installed_over_the_bases_and_told(project: Project) -> None:
    base = (BasePackage("lib", "1.0"), BasePackage("friend", "1", ("lib<1.1",)), BasePackage("stranger", "1", ("lib<0.5",)))
    lock = project.resolve("lib>1", installed=base)
    assert (["lib 1.1"], [], (("lib", "1.0"),)) == (names(lock), taken(lock), lock.replaced)
    assert ("`lib 1.1` is installed over the base's 1.0, which these of the base don't want: `friend` (<1.1)",) == lock.warnings


def test_what_is_large_stays_at_the_price_of_an_older_version_of_what_is_new(project: Project) -> None:
    assert ["vision 1.0"] == names(project.resolve("vision", installed=(LARGE,)))
    small = BasePackage("big", "2.5.1")
    assert ["big 3.0", "vision 2.0"] == names(project.resolve("vision", installed=(small,)))
    forced = project.resolve("vision==2.0", installed=(LARGE,))
    assert (["big 3.0", "vision 2.0"], (("big", "2.5.1+cu124"),)) == (names(forced), forced.replaced)


def test_another_variant_than_the_one_asked_for_does_not_count(tmp_path: Path) -> None:
    target = parse_target("3.11.2", "x86_64-manylinux_2_36")
    for backend, count in ((None, 1), ("auto", 1), ("cu124", 1), ("cpu", 0)):
        assert count == len(StubWheels((LARGE,), target, backend=backend, cache_dir=tmp_path).packages)


def test_what_the_base_lacks_or_breaks_is_its_own_affair(project: Project) -> None:
    base = (BasePackage("big", "2", ("nowhere==1", "lib>=5", "app; extra == 'more'"), ("more",)), BasePackage("lib", "1.0"))
    assert [] == names(project.resolve("big", installed=base))
    assert ["app 1.0"] == names(project.resolve("big[more]", installed=base))


def test_a_stand_in_is_written_once_and_holds_metadata_only(tmp_path: Path) -> None:
    target = parse_target("3.11.2", "x86_64-manylinux_2_36")
    stubs = StubWheels((LARGE,), target, backend=None, cache_dir=tmp_path)
    (wheel,) = stubs.directory().iterdir()
    assert "big-2.5.1+cu124-999999999launch-cp311-cp311-manylinux_2_36_x86_64.whl" == wheel.name
    assert {"METADATA", "WHEEL", "RECORD"} == {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    before = wheel.stat().st_mtime_ns
    assert stubs.directory() == wheel.parent
    assert before == wheel.stat().st_mtime_ns
    assert [wheel.parent] == list((tmp_path / "stub-wheels").iterdir())


def test_the_record_is_of_this_base(project: Project) -> None:
    one, two = (BasePackage("lib", "1.0"),), (BasePackage("lib", "1.1"),)
    assert "resolved" == project.resolve("app", installed=one).source
    again = project.resolve("app", installed=one)
    assert ("recorded", ["lib 1.0"]) == (again.source, taken(again))
    assert ("resolved", "resolved") == (project.resolve("app", installed=two).source, project.resolve("app").source)


def test_a_uv_lock_is_taken_without_what_the_base_has_and_what_only_that_needs(project: Project) -> None:
    from uv import find_uv_bin

    make_wheel(project.wheels, "tail")
    make_wheel(project.wheels, "big", "2.5.1", requires=("tail", "lib==1.0"))
    dependencies = '["vision==1.0", "lib"]'
    text = f'[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = {dependencies}\n'
    (project.directory / "pyproject.toml").write_text(text)
    options = ["--no-index", "--find-links", str(project.wheels), "--offline", "--python", sys.executable]
    subprocess.run([find_uv_bin(), "lock", "-q", *options], cwd=project.directory, check=True)
    assert ["big 2.5.1", "lib 1.0", "tail 1.0", "vision 1.0"] == names(project.resolve(requirements="uv.lock"))
    lock = project.resolve(requirements="uv.lock", installed=(LARGE,))
    assert (["lib 1.0", "vision 1.0"], ["big 2.5.1+cu124"]) == (names(lock), taken(lock))
    other = BasePackage("big", "2.4")
    assert (("big", "2.4"),) == project.resolve(requirements="uv.lock", installed=(other,)).replaced


@pytest.mark.parametrize("pylock", [False, True])
def test_a_lock_file_says_what_it_counts_on(project: Project, pylock: bool) -> None:
    base = (BasePackage("lib", "1.0"), BasePackage("big", "1.0"))
    lock = project.resolve("app", "big>1", installed=base)
    request = RequirementRequest(["app", "big>1"], project.directory)
    inputs = request_digest(request, read_requirements(request), BasePython("3.13.5", PLATFORM))
    path = project.directory / ("pylock.x.toml" if pylock else "x.lock")
    addresses = {wheel.filename: f"https://files.test/{wheel.filename}" for wheel in lock.wheels}
    text = pylock_text(lock, inputs=inputs, addresses=addresses) if pylock else lock_file_text(lock, inputs=inputs, command="x")
    path.write_text(text)

    def current(*installed: BasePackage) -> tuple[Lock | None, str | None]:
        return current_lock(path, request, BasePython("3.13.5", PLATFORM, installed=installed))

    found, why = current(*base, BasePackage("other", "1"))
    assert why is None
    assert found is not None
    assert (lock.digest, lock.provided, lock.replaced) == (found.digest, found.provided, found.replaced)
    assert "it counts on `big 1.0` of the base, and this one has none" == current()[1]
    assert "it counts on `lib 1.0` of the base, and this one has 1.1" == current(base[1], BasePackage("lib", "1.1"))[1]
    assert "it was made for a base without `app`, and this one has 1.0" == current(*base, BasePackage("app", "1.0"))[1]


REQUIRES = ["x>1", "y (", "z\nName: evil"]


def test_nothing_of_an_answer_is_believed_that_does_not_parse() -> None:
    answer = [
        {
            "name": "Big_Thing",
            "version": "1.0.0a0+NV25.01",
            "requires": ["x>1", "y (", "z\nName: evil"],
            "extras": ["e", "a\nb"],
            "size": 7,
        },
        {"name": "big-thing", "version": "2"},
        {"name": "a/../b", "version": "1"},
        {"name": "bad-version", "version": "not one"},
        {"name": "odd", "version": "1", "requires": 3, "size": "many"},
        {"name": None, "version": None},
    ]
    found = check_packages(answer)
    assert (BasePackage("big-thing", "1.0.0a0+nv25.1", ("x>1",), ("e",), 7), BasePackage("odd", "1")) == found
    assert found == from_rows(to_rows(found))
    assert packages_digest(found) == packages_digest(from_rows(to_rows(found)))


def test_a_file_named_by_its_address_is_installed_over_the_bases(project: Project) -> None:
    address = (project.wheels / "lib-1.0-py3-none-any.whl").as_uri()
    lock = project.resolve(f"lib @ {address}", installed=(BasePackage("lib", "1.0"),))
    assert ([address], [], (("lib", "1.0"),)) == ([wheel.url for wheel in lock.wheels], taken(lock), lock.replaced)

"""A local wheel that would not load on the base is no candidate, and it is said what was taken instead."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from elf_maker import elf_that_needs

from launcher.errors import ConfigError
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import resolve, wheel_source
from runtime.build.observer import NullObserver
from runtime.build.plan import InstallWheel
from runtime.build.wheels.wheel_fetch import fetch_wheels
from runtime.state_dir import StateDir

BOOKWORM = BasePython("3.11.2", "x86_64-manylinux_2_36", 30)
NEWER = BasePython("3.11.2", "x86_64-manylinux_2_41", 33)
NEEDS_2_38 = {"libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.38"]}


class Wheels:
    """A directory of wheels that pip's settings name, and no index."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        self.environ = {
            "HOME": str(directory),
            "PATH": "/usr/bin:/bin",
            "XDG_CONFIG_DIRS": str(directory / "xdg"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(directory / "uv-cache"),
            "UV_OFFLINE": "1",
        }
        self.state = StateDir(directory / "state")

    def add(self, filename: str, *, needs: dict[str, list[str]] | None = None, requires: Sequence[str] = ()) -> Path:
        name, version, *tags = filename.removesuffix(".whl").split("-")
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
            f"Requires-Dist: {r}\n" for r in requires
        )
        path = self.wheels / filename
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(tags)}\n")
            archive.writestr(f"{info}/RECORD", "")
            if needs is not None:
                archive.writestr(f"{name}/_C.so", elf_that_needs(needs))
        return path

    def lock(self, *requirements: str, base: BasePython = BOOKWORM, refresh: bool = False) -> Lock:
        request = RequirementRequest(requirements, self.directory)
        return resolve(request, base, Pinning(self.state, self.environ, refresh))


@pytest.fixture
def wheels(tmp_path: Path) -> Wheels:
    made = Wheels(tmp_path)
    made.add("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", needs=NEEDS_2_38)
    return made


def fetched_wheel_file(wheels: Wheels, lock: Lock, name: str) -> str:
    """The WHEEL file of what the build's download brings for *lock*."""
    source = wheel_source(lock, RequirementRequest([name], wheels.directory), environ=wheels.environ)
    steps = [InstallWheel(w.name, w.version, w.sha256, w.filename, "cpython-test", "3.11") for w in lock.wheels]
    scratch = wheels.directory / "fetch"
    scratch.mkdir()
    unpacked = fetch_wheels(steps, source=source, scratch=scratch, observer=NullObserver(), environ=wheels.environ)
    (directory,) = unpacked.values()
    return next(directory.glob("*.dist-info/WHEEL")).read_text()


def files(lock: Lock) -> list[str]:
    return [wheel.filename for wheel in lock.wheels]


def test_another_build_of_the_same_version_is_taken_and_said(wheels: Wheels) -> None:
    wheels.add("torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl", needs=NEEDS_2_38, requires=["cuda"])
    wheels.add("cuda-13.0-py3-none-any.whl")
    lock = wheels.lock("torch>=2.6")
    assert ["cuda-13.0-py3-none-any.whl", "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"] == files(lock)
    (warning,) = lock.warnings
    assert warning == (
        "`torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl` needs glibc 2.38 and the base has 2.36: "
        "`torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl` is taken instead"
    )


def test_a_base_that_has_it_takes_the_local_file(wheels: Wheels) -> None:
    lock = wheels.lock("torch", base=NEWER)
    assert ["torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"] == files(lock)
    assert () == lock.warnings


def test_an_older_version_is_taken_where_no_other_file_of_this_one_fits(wheels: Wheels) -> None:
    wheels.add("torch-2.12.0+cpu-cp311-cp311-linux_x86_64.whl", needs={"libc.so.6": ["GLIBC_2.37"]})
    wheels.add("torch-2.11.0+cpu-cp311-cp311-linux_x86_64.whl", needs={"libc.so.6": ["GLIBC_2.36"]})
    lock = wheels.lock("torch")
    assert ["torch-2.11.0+cpu-cp311-cp311-linux_x86_64.whl"] == files(lock)
    assert 2 == len(lock.warnings)
    assert all("`torch-2.11.0+cpu-cp311-cp311-linux_x86_64.whl` is taken instead" in line for line in lock.warnings)


def test_a_wheel_that_promises_its_glibc_is_taken_at_its_word(wheels: Wheels) -> None:
    wheels.add("demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", needs={"libc.so.6": ["GLIBC_2.38"]})
    assert () == wheels.lock("demo").warnings


def test_a_newer_libstdcxx_is_a_reason_too(wheels: Wheels) -> None:
    needs = {"libc.so.6": ["GLIBC_2.34"], "libstdc++.so.6": ["GLIBCXX_3.4.32"]}
    wheels.add("demo-1.0+local-cp311-cp311-linux_x86_64.whl", needs=needs)
    wheels.add("demo-1.0-py3-none-any.whl")
    (warning,) = wheels.lock("demo").warnings
    assert "needs a libstdc++ with GLIBCXX_3.4.32 and the base's ends with GLIBCXX_3.4.30" in warning
    unknown = BOOKWORM._replace(libstdcxx=None)
    assert ["demo-1.0+local-cp311-cp311-linux_x86_64.whl"] == files(wheels.lock("demo", base=unknown))


def test_a_requirement_that_is_not_needed_any_more_is_left_out(wheels: Wheels) -> None:
    wheels.add("app-1.0-py3-none-any.whl")
    wheels.add("app-2.0-py3-none-any.whl", requires=["torch"])
    lock = wheels.lock("app")
    assert ["app-1.0-py3-none-any.whl"] == files(lock)
    assert lock.warnings[0].endswith(": it is left out")


def test_another_file_under_the_same_version_is_chosen_and_downloaded(wheels: Wheels) -> None:
    wheels.add("demo-1.0-cp311-cp311-linux_x86_64.whl", needs=NEEDS_2_38)
    wheels.add("demo-1.0-cp311-abi3-manylinux_2_28_x86_64.whl", needs=NEEDS_2_38)
    lock = wheels.lock("demo")
    assert lock.wheels[0].url == (wheels.wheels / "demo-1.0-cp311-abi3-manylinux_2_28_x86_64.whl").as_uri()
    assert ["demo-1.0-cp311-abi3-manylinux_2_28_x86_64.whl"] == files(lock)
    assert "manylinux_2_28" in fetched_wheel_file(wheels, lock, "demo")


def test_the_public_version_is_downloaded_where_a_local_build_of_it_lies_beside(wheels: Wheels) -> None:
    wheels.add("torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl")
    assert "manylinux_2_28" in fetched_wheel_file(wheels, wheels.lock("torch"), "torch")


def test_nothing_that_fits_is_an_error_that_names_the_file_and_a_way_out(wheels: Wheels) -> None:
    with pytest.raises(ConfigError, match=r"needs glibc 2\.38 and the base has 2\.36, and nothing else fits: ") as failed:
        wheels.lock("torch")
    assert "a base with Python 3.11 and glibc 2.38 or newer" in str(failed.value.hint)


def test_a_shipped_base_is_named_where_it_would_do(wheels: Wheels) -> None:
    wheels.add("demo-1.0-cp311-abi3-linux_x86_64.whl", needs=NEEDS_2_38)
    with pytest.raises(ConfigError) as failed:
        wheels.lock("demo")
    assert "`image.python=3.13` (Debian trixie) has glibc 2.41 and Python 3.13" == failed.value.hint


def test_a_file_that_was_asked_for_by_its_path_is_refused(wheels: Wheels) -> None:
    file = wheels.wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"
    with pytest.raises(ConfigError, match="nothing else fits"):
        wheels.lock(f"torch @ {file.as_uri()}")
    lock = wheels.lock(f"torch @ {file.as_uri()}", base=NEWER)
    source = wheel_source(lock, RequirementRequest(["torch"], wheels.directory), environ=wheels.environ)
    assert f"torch @ {file.as_uri()} --hash=sha256:{lock.wheels[0].sha256}\n" == source.requirements


def test_a_pylock_with_a_file_that_does_not_fit_is_refused(wheels: Wheels) -> None:
    file = wheels.wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"
    wheel = f'{{ url = "{file.as_uri()}", hashes = {{ sha256 = "{"a" * 64}" }} }}'
    text = f'lock-version = "1.0"\n[[packages]]\nname = "torch"\nversion = "2.13.0+cpu"\nwheels = [{wheel}]\n'
    (wheels.directory / "pylock.toml").write_text(text)
    with pytest.raises(ConfigError, match="nothing else fits"):
        resolve(RequirementRequest("pylock.toml", wheels.directory), BOOKWORM, Pinning(wheels.state, wheels.environ))


def test_a_base_without_glibc_takes_no_wheel_that_needs_one(wheels: Wheels) -> None:
    wheels.add("torch-2.13.0-py3-none-any.whl")
    (warning,) = wheels.lock("torch", base=BasePython("3.11.2", "x86_64-musllinux_1_2")).warnings
    assert "needs glibc 2.38 and the base has musl" in warning


def test_the_record_keeps_the_warning_and_opens_no_wheel(wheels: Wheels) -> None:
    wheels.add("torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl")
    first = wheels.lock("torch")
    for remembered in (wheels.state.cache / "wheel-needs").iterdir():
        remembered.unlink()
    second = wheels.lock("torch")
    assert ("recorded", first.warnings, first.wheels) == (second.source, second.warnings, second.wheels)
    assert [] == list((wheels.state.cache / "wheel-needs").iterdir())


def test_a_wheel_is_opened_once_until_it_changes(wheels: Wheels) -> None:
    wheels.add("torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl")
    wheels.lock("torch")
    (remembered,) = (wheels.state.cache / "wheel-needs").iterdir()
    told = remembered.read_text()
    remembered.write_text(told.replace("38", "35"))
    assert ["torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"] == files(wheels.lock("torch", refresh=True))
    wheels.add("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", needs={"libc.so.6": ["GLIBC_2.37"]})
    (warning,) = wheels.lock("torch", refresh=True).warnings
    assert "needs glibc 2.37" in warning

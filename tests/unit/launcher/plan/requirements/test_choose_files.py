"""The one file of each package that a Python and platform take."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.pylock import choose_files
from launcher.plan.requirements.target import parse_target

TRIXIE = parse_target("3.13.5", "x86_64-manylinux_2_41")


def package(name: str, *filenames: str, version: str = "1.0", **fields: Any) -> dict[str, Any]:
    def file(name: str) -> dict[str, Any]:
        return {"url": f"https://files.test/{name}", "size": 7, "hashes": {"sha256": "ab" * 32}}

    document: dict[str, Any] = {"name": name, "version": version, **fields}
    document["wheels"] = [file(name) for name in filenames if name.endswith(".whl")]
    for sdist in (name for name in filenames if not name.endswith(".whl")):
        document["sdist"] = file(sdist)
    return document


def choose(*packages: dict[str, Any], torch: str | None = None) -> list[LockedWheel]:
    return list(choose_files({"packages": packages}, TRIXIE, torch=torch))


def chosen(*packages: dict[str, Any]) -> list[str]:
    return [wheel.filename for wheel in choose(*packages)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            ["a-1-py3-none-any.whl", "a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"],
            "a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            id="compiled before pure",
        ),
        pytest.param(
            ["a-1-cp39-abi3-manylinux2014_x86_64.whl", "a-1-cp313-cp313-manylinux2014_x86_64.whl"],
            "a-1-cp313-cp313-manylinux2014_x86_64.whl",
            id="exact abi before stable abi",
        ),
        pytest.param(
            ["a-1-cp313-cp313-manylinux_2_17_x86_64.whl", "a-1-cp313-cp313-manylinux_2_28_x86_64.whl"],
            "a-1-cp313-cp313-manylinux_2_28_x86_64.whl",
            id="newest glibc that fits",
        ),
        pytest.param(
            ["a-1-cp313-cp313-manylinux_2_99_x86_64.whl", "a-1-cp313-cp313-manylinux_2_28_aarch64.whl", "a-1.tar.gz"],
            "a-1.tar.gz",
            id="source where no wheel fits",
        ),
        pytest.param(
            ["a-1-1-cp313-cp313-linux_x86_64.whl"], "a-1-1-cp313-cp313-linux_x86_64.whl", id="build number, plain linux"
        ),
    ],
)
def test_the_best_file_is_taken(files: list[str], expected: str) -> None:
    assert [expected] == chosen(package("a", *files))
    assert [expected] == chosen(package("a", *reversed(files)))


def test_a_package_for_another_platform_is_left_out() -> None:
    windows = package("colorama", "colorama-1-py3-none-any.whl", marker="sys_platform == 'win32'")
    old = package("tomli", "tomli-1-py3-none-any.whl", marker="python_full_version < '3.11'")
    here = package("cffi", "cffi-1-py3-none-any.whl", marker="platform_python_implementation == 'CPython'")
    assert ["cffi-1-py3-none-any.whl"] == chosen(windows, old, here)


def test_what_was_chosen_is_described_without_an_address() -> None:
    (wheel,) = choose(package("my-pkg", "my_pkg-1.0-py3-none-any.whl"))
    assert ("my-pkg", "1.0", "ab" * 32, None, None, 7, False) == (
        wheel.name,
        wheel.version,
        wheel.sha256,
        wheel.index,
        wheel.url,
        wheel.size,
        wheel.sdist,
    )


def test_a_file_from_disk_or_from_torchs_index_is_said_to_be() -> None:
    local = package("torch", "torch-2.13.0+cpu-cp313-cp313-linux_x86_64.whl", version="2.13.0+cpu")
    local["wheels"][0]["url"] = "file:///opt/wheels/torch-2.13.0%2Bcpu-cp313-cp313-linux_x86_64.whl"
    remote = package("torch", "x.whl", version="2.13.0+cu128")
    remote["wheels"][0]["url"] = "https://dl.test/whl/cu128/torch-2.13.0%2Bcu128-cp313-cp313-manylinux_2_28_x86_64.whl"
    (wheel,) = choose(local)
    assert ("find-links", "torch-2.13.0+cpu-cp313-cp313-linux_x86_64.whl") == (wheel.index, wheel.filename)
    (wheel,) = choose(remote, torch="cu128")
    assert "pytorch-cu128" == wheel.index


def test_a_package_without_a_fitting_file_names_the_platform() -> None:
    with pytest.raises(ConfigError, match=r"no file matches Python 3\.13\.5 on x86_64 .*'a'"):
        chosen(package("a", "a-1-cp312-cp312-win_amd64.whl"))


def test_trees_of_sources_are_chosen_with_their_places() -> None:
    vcs = {"type": "git", "url": "https://x.test/a", "commit-id": "1", "subdirectory": "b"}
    (wheel,) = choose({"name": "a", "vcs": vcs})
    assert "git+https://x.test/a@1#subdirectory=b" == wheel.url
    (wheel,) = choose({"name": "a", "directory": {"path": "libs/a", "editable": True}})
    assert "-e file:libs/a" == wheel.url


def test_of_files_without_hashes_the_one_that_uv_hashed_is_taken() -> None:
    some = package("a", "a-1-cp313-cp313-manylinux2014_x86_64.whl", "a-1-py3-none-any.whl")
    some["wheels"][0]["hashes"] = {}
    assert ["a-1-py3-none-any.whl"] == chosen(some)


def test_a_source_archive_of_an_old_form_does_not_hide_the_wheels_beside_it() -> None:
    old = package("a", "a-1.0-py3-none-any.whl")
    old["sdist"] = {"url": "https://files.test/a-1.0.tar.bz2", "hashes": {"sha256": "ab" * 32}}
    assert ["a-1.0-py3-none-any.whl"] == chosen(old)


def test_two_versions_of_one_package_are_refused() -> None:
    one, other = (package("a", f"a-{version}-py3-none-any.whl", version=version) for version in ("1.0", "2.0"))
    with pytest.raises(ConfigError, match="Multiple packages with the name 'a'"):
        chosen(one, other)


def test_a_file_without_sha256_cannot_be_pinned() -> None:
    broken = package("a", "a-1-py3-none-any.whl")
    broken["wheels"][0]["hashes"] = {"md5": "x"}
    with pytest.raises(LaunchError, match="no sha256"):
        chosen(broken)


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("x86_64-manylinux_2_41", "x86_64-manylinux_2_40"),
        ("x86_64-manylinux_2_36", "x86_64-manylinux_2_36"),
        ("aarch64-manylinux_2_29", "aarch64-manylinux_2_28"),
        ("x86_64-musllinux_1_2", "x86_64-unknown-linux-musl"),
    ],
)
def test_uv_is_told_the_newest_platform_it_knows(platform: str, expected: str) -> None:
    assert expected == parse_target("3.13", platform).uv_platform


def test_an_unknown_platform_is_named() -> None:
    with pytest.raises(LaunchError, match="riscv64"):
        parse_target("3.13", "riscv64-manylinux_2_41")

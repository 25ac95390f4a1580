"""What uv is asked for, where it put it, and how its words become progress and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheel_maker import step, unpacked_wheel

from runtime.build.observer import NullObserver
from runtime.build.sources import WheelSource
from runtime.build.wheels.sdist import _on_this_side
from runtime.build.wheels.uv_program import failure, uv_environment
from runtime.build.wheels.wheel_fetch import _Progress, requirements_of, unpacked_directories
from runtime.errors import BadContent, BuildError, NetworkError, ToolFailed


class Seen(NullObserver):
    def __init__(self) -> None:
        self.bytes: list[tuple[int, int | None]] = []
        self.texts: list[str] = []

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        self.bytes.append((done_bytes, total_bytes))

    def message(self, text: str) -> None:
        self.texts.append(text)


def linked(directory: Path, name: str, version: str) -> Path:
    """A wheel as uv installs it: dist-info with a link to the cache."""
    info = f"{name}-{version}.dist-info"
    cache = directory / "cache" / name / info
    cache.mkdir(parents=True)
    (cache / "WHEEL").touch()
    (directory / "linked" / info).mkdir(parents=True)
    (directory / "linked" / info / "WHEEL").symlink_to(cache / "WHEEL")
    return cache.parent


def test_each_wheel_is_found_by_its_name_however_spelled(tmp_path: Path) -> None:
    first, second = linked(tmp_path, "my_pkg", "1.0"), linked(tmp_path, "Other.Pkg", "2.0")
    steps = [step(name="my-pkg"), step(name="other-pkg", version="2.0")]
    assert {steps[0]: first, steps[1]: second} == unpacked_directories(steps, tmp_path / "linked")


def test_a_wheel_that_uv_did_not_install_is_named(tmp_path: Path) -> None:
    linked(tmp_path, "one", "1.0")
    with pytest.raises(BuildError, match=r"no `two 1\.0`"):
        unpacked_directories([step(name="two")], tmp_path / "linked")


def test_a_copy_instead_of_a_link_is_an_error(tmp_path: Path) -> None:
    linked(tmp_path, "demo", "1.0")
    wheel = tmp_path / "linked/demo-1.0.dist-info/WHEEL"
    wheel.unlink()
    wheel.touch()
    with pytest.raises(BuildError, match="did not link"):
        unpacked_directories([step()], tmp_path / "linked")


def test_only_what_is_missing_is_asked_for_and_addresses_are_kept() -> None:
    source = WheelSource(requirements=f"a @ https://x.test/a.whl --hash=sha256:{'a' * 64}\nb==1 --hash=sha256:{'b' * 64}\n")
    steps = [step(name="a", sha256="a" * 64), step(name="c", sha256="c" * 64)]
    assert f"a @ https://x.test/a.whl --hash=sha256:{'a' * 64}\nc===1.0 --hash=sha256:{'c' * 64}\n" == requirements_of(
        steps, source
    )


def test_progress_counts_what_uv_names() -> None:
    seen = Seen()
    progress = _Progress([step(name="numpy")], seen)
    for line in (
        "Resolved 2 packages in 1ms",
        "Downloading numpy (15.0MiB)",
        "Downloading torch (2.0GiB)",
        " Downloaded numpy",
        "warning: slow",
    ):
        progress.line(line)
    numpy, torch = 15 << 20, 2 << 30
    assert [(0, numpy), (0, numpy + torch), (numpy, numpy + torch)] == seen.bytes
    assert ["uv: slow"] == seen.texts


def test_an_unreachable_index_is_a_network_error_without_the_password() -> None:
    said = failure(["pip", "install"], 2, "error: Failed to fetch: `https://me:secret@index.test/simple/`\n  cause: dns error\n")
    assert isinstance(said, NetworkError)
    assert "secret" not in str(said)
    assert "index.test" in str(said)


def test_any_other_failure_keeps_uvs_words() -> None:
    said = failure(["pip", "compile", "x"], 1, "Resolved 3 packages\nerror: No solution found\n")
    assert isinstance(said, ToolFailed)
    assert "No solution found" == said.words


def test_variables_that_would_change_the_question_are_kept_from_uv() -> None:
    given = {
        "UV_PYTHON": "3.9",
        "VIRTUAL_ENV": "/x",
        "UV_LINK_MODE": "copy",
        "UV_INDEX_STRATEGY": "first-index",
        "HTTPS_PROXY": "p",
    }
    env = uv_environment(given, {"UV_OFFLINE": "1"})
    assert {"UV_INDEX_STRATEGY": "first-index", "HTTPS_PROXY": "p", "UV_OFFLINE": "1"}.items() <= env.items()
    assert not {"UV_PYTHON", "VIRTUAL_ENV", "UV_LINK_MODE"} & set(env)


@pytest.mark.parametrize("place", ["/etc", "/run/launch-build/work/../../etc", "/run/launch-build/work/cache/out"])
def test_a_build_cannot_point_out_of_its_directory(tmp_path: Path, place: str) -> None:
    """The container's `WHEEL -> /etc/demo-1.0.dist-info/WHEEL`, or a link inside its cache, would show the host's files."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/out").symlink_to("/etc")
    unpacked_wheel(tmp_path / "cache/fine", {"x.py": ""})
    with pytest.raises(BadContent, match="outside its directory"):
        _on_this_side(Path(place), tmp_path)
    assert tmp_path / "cache/fine" == _on_this_side(Path("/run/launch-build/work/cache/fine"), tmp_path)

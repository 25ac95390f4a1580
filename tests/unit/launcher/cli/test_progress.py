"""What a build says: one line for a batch of wheels, bytes only for downloads, nothing untrue about a build that failed."""

from __future__ import annotations

import threading
import time

import pytest

from launcher.cli.arguments import Talk
from launcher.cli.progress import BuildProgress, build_progress
from launcher.cli.progress_lines import Download, RunningStep
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, InstallWheel, Step
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer


def wheel(name: str) -> InstallWheel:
    return InstallWheel(name, "1.0", "a" * 64, f"{name}-1.0-py3-none-any.whl", "cpython-3.13.5-x", "3.13")


WHEELS = tuple(wheel(f"wheel{number}") for number in range(17))
CODE = CopyIn("/src", (("train.py", 0o644, "b" * 64),), "/workspace", digest_bytes(b"code"))
PLAN = BuildPlan((*WHEELS, CODE), ImageConfig())


def layer(step: Step) -> Layer:
    digest = digest_bytes(repr(step).encode())
    return Layer(digest, digest, 1000, "as an older launch called it")


def build(progress: BuildProgress, *steps: Step, seconds: float = 1.0) -> None:
    for step in steps:
        progress.step_started(step)
    for step in steps:
        progress.step_built(step, (layer(step),), seconds)


def fail_after(*steps: Step) -> None:
    with build_progress(PLAN, Talk.NORMAL) as progress:
        build(progress, *steps)
        progress.step_started(CODE)
        raise RuntimeError


def test_a_batch_of_wheels_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with build_progress(PLAN, Talk.NORMAL) as progress:
        build(progress, *WHEELS, seconds=0.5)
        build(progress, CODE)
    lines = capsys.readouterr().err.splitlines()
    assert ["built   17 wheels  8.5 s  17 KB", "built   code in /workspace (1 file)  1.0 s  1.0 KB"] == lines[:2]
    assert lines[2].startswith("image: 18 layers built, 0 cached, ")


def test_one_wheel_has_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with build_progress(PLAN, Talk.NORMAL) as progress:
        build(progress, WHEELS[3])
    lines = capsys.readouterr().err.splitlines()
    assert "built   wheel3 1.0  1.0 s  1.0 KB" == lines[0]
    assert lines[1].startswith("image: 1 layer built, 17 cached, ")


def test_a_wheel_that_another_launch_made_meanwhile_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with build_progress(PLAN, Talk.NORMAL) as progress:
        for step in WHEELS[:2]:
            progress.step_started(step)
        progress.step_cached(WHEELS[0], (layer(WHEELS[0]),))
        progress.step_built(WHEELS[1], (layer(WHEELS[1]),), 2.0)
    assert "built   wheel1 1.0  2.0 s  1.0 KB" in capsys.readouterr().err


def test_a_failed_build_counts_no_layer_as_cached(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        fail_after(*WHEELS)
    assert "no image; the 17 layers built before this are kept" == capsys.readouterr().err.splitlines()[-1]


def test_a_build_that_failed_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        fail_after()
    assert "" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "| dpkg --configure -a  1 m 05 s  Setting up python3 ..."),
        (44, "| dpkg --configure -a  1 m 05 s  Setting up…"),
        (20, "| dpkg --…  1 m 05 s"),
    ],
)
def test_a_step_is_a_spinner_a_name_and_its_time(width: int, expected: str) -> None:
    step = RunningStep("dpkg --configure -a", begun_at=35.0, detail="Setting up python3 ...")
    line = step.line(100.0, width=width, plain=True)
    assert len(line) <= width
    assert expected == line


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "  94 Debian packages  20 MB of 40 MB, 10 MB/s  ##########.........."),
        (40, "  94 Debian pa…  20 MB of 40 MB, 10 MB/s"),
    ],
)
def test_a_download_has_bytes_total_and_speed(width: int, expected: str) -> None:
    download = Download("94 Debian packages")
    download.update(0, 40_000_000, now=1.0)
    download.update(20_000_000, 40_000_000, now=3.0)
    assert expected == download.line(width=width, plain=True)


def test_a_download_of_unknown_size_has_no_total_and_at_first_no_speed() -> None:
    download = Download("wheels")
    download.update(5_000_000, None, now=1.0)
    assert "  wheels  5.0 MB" == download.line(width=80, plain=True)


def test_without_a_terminal_a_long_build_says_from_time_to_time_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BuildProgress(PLAN.steps, said_every_s=0.02)
    progress.working("resolving requirements")
    assert "still:  resolving requirements (0 s)" in _said(capsys, "still:")
    progress.working(None)
    progress.step_started(CODE)
    progress.step_started(WHEELS[0])
    progress.download("torch 2.6", 1 << 20, 1 << 30)
    said = _said(capsys, "and 1 other")
    assert "code in /workspace" in said
    assert "torch 2.6 1.0 MB of 1.1 GB" in said
    progress.hide()
    capsys.readouterr()
    threads = [thread for thread in threading.enumerate() if thread.name == "build-progress"]
    for thread in threads:
        thread.join(timeout=30)
    assert "" == capsys.readouterr().err


def _said(capsys: pytest.CaptureFixture[str], word: str) -> str:
    """What stands on stderr once *word* does."""
    said = ""
    deadline = time.monotonic() + 60
    while word not in said and time.monotonic() < deadline:
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said

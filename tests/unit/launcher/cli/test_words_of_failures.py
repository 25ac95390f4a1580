"""What the machine refuses, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher.cli.failures import failures_shown


def said_of(error: OSError, capsys: pytest.CaptureFixture[str]) -> str:
    with failures_shown(debug=False) as ending:
        raise error
    assert 125 == ending.code
    return capsys.readouterr().err


def refused(path: Path) -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_file_of_somebody_else_is_named_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of somebody else's")
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    for place in ("home", "elsewhere"):
        (tmp_path / place).mkdir()
        os.chown(tmp_path / place, 12345, 12345)
    assert said_of(refused(tmp_path / "home/active/7f3a"), capsys).splitlines() == [
        f"error: `{tmp_path}/home/active/7f3a`: permission denied",
        "",
        f"hint: `{tmp_path}/home` belongs to another user (uid 12345); LAUNCH_HOME names a state directory of your own",
    ]
    assert "(uid 12345)\n" in said_of(refused(tmp_path / "elsewhere/x"), capsys)


def test_nothing_is_guessed_about_a_file_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_of(refused(tmp_path / "x"), capsys) == f"error: `{tmp_path}/x`: permission denied\n"
    assert said_of(OSError(errno.EIO, os.strerror(errno.EIO)), capsys) == "error: [Errno 5] Input/output error\n"


def test_who_has_a_state_directory_that_is_only_to_be_read_is_told_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    unwritable = [OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / place)) for place in ("home/locks/x", "x")]
    assert "hint: LAUNCH_HOME names another place" in said_of(unwritable[0], capsys)
    assert "hint" not in said_of(unwritable[1], capsys)

"""A directory of one's own in a place where everybody may write, and which place it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import StoreError, Unsupported
from runtime.store.scratch import expand_variables, own_directory, scratch_directory, swept_scratch
from runtime.store.staging import locked_directory

OWN = f"launch-{os.geteuid()}"


def test_the_first_place_that_serves_is_taken(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    environ = {"SLURM_TMPDIR": str(tmp_path / "gone"), "TMPDIR": str(tmp_path / "job")}
    found = scratch_directory(environ)
    assert (tmp_path / "job" / OWN, 0o700) == (found, found.stat().st_mode & 0o777)


def test_a_named_place_is_the_only_one_made_if_missing_and_may_have_the_node_s_variables(tmp_path: Path) -> None:
    environ = {"SLURM_JOB_ID": "17", "TMPDIR": str(tmp_path)}
    assert tmp_path / "job17" / OWN == scratch_directory(environ, named=f"{tmp_path}/job${{SLURM_JOB_ID}}")


def test_no_place_at_all_is_an_error_that_names_each_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unsupported) as refused:
        scratch_directory({}, named=str(tmp_path / "file"))
    assert f"`{tmp_path}/file/{OWN}` cannot be used: it is no directory" in refused.value.message
    assert "cluster.scratch" in (refused.value.hint or "")


def test_a_variable_that_the_node_has_not_is_named() -> None:
    with pytest.raises(Unsupported, match=r"`/local/\$NOWHERE`: `\$NOWHERE` is not set on this machine"):
        expand_variables("/local/$NOWHERE", {})


def test_somebody_else_s_directory_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of somebody else's")
    (tmp_path / OWN).mkdir(mode=0o700)
    os.chown(tmp_path / OWN, 12345, 12345)
    with pytest.raises(StoreError, match=r"belongs to another user \(uid 12345\)"):
        own_directory(tmp_path)


def test_a_link_to_a_directory_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / OWN).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="it is no directory"):
        own_directory(tmp_path)


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN).chmod(0o755)
    with pytest.raises(StoreError, match=r"open to others \(mode 755\)"):
        own_directory(tmp_path)


def test_a_place_where_others_may_rename_ours_away_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of somebody else's")
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    os.chown(place, 12345, 12345)
    with pytest.raises(StoreError, match="others may replace what lies in it"):
        own_directory(place)
    place.chmod(0o1777)
    assert place / OWN == own_directory(place)


def test_what_a_killed_run_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    scratch = scratch_directory({}, named=str(tmp_path))
    dead, left = locked_directory(scratch, "run1-aaaa")
    (left / "w" / "work").mkdir(parents=True)
    (left / "w" / "work").chmod(0)  # as overlayfs leaves it
    living, mine = locked_directory(scratch, "run2-bbbb")
    os.close(dead)
    swept_scratch({}, named=str(tmp_path))
    assert (False, True) == (left.exists(), mine.exists())
    os.close(living)

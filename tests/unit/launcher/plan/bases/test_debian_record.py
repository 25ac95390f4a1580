"""A base is asked for once; a lock beside the experiment comes first. No archive is reachable in these tests."""

from __future__ import annotations

import json

import pytest

from launcher.config.spec import Image
from launcher.plan.bases.base_lock_file import base_lock_text
from launcher.plan.bases.debian_record import is_answered, resolve_debs
from launcher.plan.bases.pinning import Pinning
from runtime.build.plan import DebPackage
from runtime.errors import RuntimeFailure

BASE = (DebPackage("libc6", "2.41", "amd64", "main", "pool/l.deb", 5, "a" * 64),)
NOWHERE = {"LAUNCH_DEBIAN_MIRROR": "file:/nonexistent none"}


def resolve(state, *, base_lock=None, refresh=False):
    return resolve_debs("trixie", Image(), Pinning(state, NOWHERE, refresh), apt=(), base_lock=base_lock)


def test_an_archive_that_is_not_there_fails_and_records_nothing(state):
    with pytest.raises(RuntimeFailure):
        resolve(state)
    assert not is_answered("trixie", Image(), Pinning(state, NOWHERE))


def test_a_recorded_answer_is_used_without_asking(state):
    with pytest.raises(RuntimeFailure):
        resolve(state)
    from launcher.plan.bases.debian_record import _Archive

    record = _Archive("trixie", Image(), Pinning(state, NOWHERE)).record(("apt", "ca-certificates", "python3"), ())
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"debs": [["libc6", "2.41", "amd64", "main", "pool/l.deb", 5, "a" * 64]]}))
    assert resolve(state).base == BASE
    assert is_answered("trixie", Image(), Pinning(state, NOWHERE))


def test_another_mirror_is_another_question(state):
    from launcher.plan.bases.debian_record import _Archive

    def record(mirror, environ):
        return _Archive("trixie", Image(mirror=mirror), Pinning(state, environ)).record(("apt",), ())

    assert record(None, {}) != record("http://snapshot.lab/20260101", {})
    assert record("http://me:pw@m.lab/debian", {}) == record("http://m.lab/debian", {})


def test_a_lock_beside_the_experiment_comes_first(state, tmp_path):
    lock = tmp_path / "x.base.lock"
    lock.write_text(base_lock_text(BASE, (), suite="trixie", apt=(), command="launch lock"))
    assert resolve(state, base_lock=lock).base == BASE


def test_refresh_asks_in_spite_of_lock_and_record(state, tmp_path):
    lock = tmp_path / "x.base.lock"
    lock.write_text(base_lock_text(BASE, (), suite="trixie", apt=(), command="launch lock"))
    with pytest.raises(RuntimeFailure):
        resolve(state, base_lock=lock, refresh=True)

"""What stays after logout, and who may see it."""

from __future__ import annotations

from pathlib import Path

from runtime.host.session import linger, private
from runtime.state_dir import StateDir


def test_systemd_ends_what_a_user_left_running(machine):
    found = linger(machine({"/run/systemd/system/present": ""}))
    assert (False, "loginctl enable-linger ada") == (found.ok, found.command)


def test_a_lingering_user_and_a_machine_without_systemd(machine):
    assert linger(machine()).ok
    assert linger(machine({"/run/systemd/system/present": "", "/var/lib/systemd/linger/ada": ""})).ok
    assert linger(machine(uid=0)).ok


def test_a_store_that_others_may_enter(machine, tmp_path: Path):
    state = StateDir(tmp_path / "home")
    state.store.mkdir(parents=True)
    state.store.chmod(0o755)
    found = private(machine(), state=state)
    assert (False, f"chmod go= {state.store}") == (found.ok, found.command)
    state.store.chmod(0o700)
    assert private(machine(), state=state).ok

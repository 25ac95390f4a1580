"""Who may use the MLflow UI's port."""

from __future__ import annotations

import os

import pytest

from launcher.tracking.mlflow.server_main import allowed_users


def test_the_owner_root_sudos_caller_and_who_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    own = {os.geteuid(), 0}
    assert own == allowed_users({})
    assert own | {1000, 1, 4242} == allowed_users({"SUDO_UID": "1000", "LAUNCH_UI_USERS": "daemon, 4242,no-such-user"})
    assert "no-such-user" in capsys.readouterr().err

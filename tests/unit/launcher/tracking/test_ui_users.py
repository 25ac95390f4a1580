"""Who may use the MLflow UI's port."""

from __future__ import annotations

import asyncio
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from launcher.tracking.mlflow.loopback_peer import allowed_users
from launcher.tracking.mlflow.run_endpoint import Receive, Scope, Send
from launcher.tracking.mlflow.server_main import Guarded


def test_the_owner_root_sudos_caller_and_who_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    own = {os.geteuid(), 0}
    assert own == allowed_users({})
    assert own | {1000, 1, 4242} == allowed_users({"SUDO_UID": "1000", "LAUNCH_UI_USERS": "daemon, 4242,no-such-user"})
    assert "no-such-user" in capsys.readouterr().err


@pytest.mark.parametrize("shown", ["the token", "another one", None])
def test_who_asks_from_elsewhere_needs_the_token(tmp_path: Path, shown: str | None) -> None:
    """Nobody's socket, as that of a program in a container with `network: host` is treated."""
    served: list[str] = []
    said: list[int] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        served.append(scope["path"])

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message.get("status", 0))

    async def receive() -> MutableMapping[str, Any]:
        return {}

    guarded = Guarded(application, token_file=tmp_path / "ui_token")
    token = (tmp_path / "ui_token").read_text().strip()
    assert 0o600 == (tmp_path / "ui_token").stat().st_mode & 0o777
    headers = [] if shown is None else [(b"authorization", f"Bearer {token if shown == 'the token' else 'x' * 48}".encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "server": ("127.0.0.1", 2),
        "client": ("127.0.0.1", 1),
        "headers": headers,
    }
    asyncio.run(guarded(scope, receive, send))
    assert (["/"], []) == (served, said) if shown == "the token" else ([], [403, 0]) == (served, said)
    Guarded(application, token_file=tmp_path / "ui_token")
    assert token == (tmp_path / "ui_token").read_text().strip(), "it stays what it was, as the port does"

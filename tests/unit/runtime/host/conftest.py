"""A machine that is a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.host.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    """`machine({"/proc/…": "content"}, programs=("apt-get",))`: an ordinary user's, unless *uid* says otherwise."""

    def make(files: dict[str, str] | None = None, *, programs: tuple[str, ...] = (), uid: int = 1000) -> Machine:
        for name, content in (files or {}).items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name in programs:
            path = tmp_path / "usr/bin" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o755)
        return Machine(tmp_path, uid=uid, user="root" if uid == 0 else "ada", interpreter="/usr/bin/python3.12")

    return make

"""`image.python` of which neither Debian nor a registry has a base: one of uv's, from a mirror, in a real container."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_command import Launch
from uv_mirror import write_mirror

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

WHERE = '[python3, -c, "import sys, six; print(sys.base_prefix, sys.prefix)"]'


@pytest.fixture
def mirror(launch: Launch, tmp_path: Path) -> dict[str, str]:
    """uv's settings for a mirror that has one Python: Debian's, out of the base's layer, as 3.13.99."""
    launch("build", "experiment=probe")
    debian = next((launch.home / "store/layers").glob("*/root/usr/bin/python3.13")).parents[1]
    return write_mirror(tmp_path, "3.13.99", {path: debian / path for path in ("bin/python3.13", "lib/python3.13")})[1]


def test_a_program_runs_with_a_python_of_uvs(launch: Launch, mirror: dict[str, str]) -> None:
    typed = ("experiment=probe", "image.python=3.13.99", "image.base=bootstrap:debian/trixie", f"command={WHERE}")
    launch.environ |= mirror
    done = launch(*typed, "image.requirements=[six]")
    assert "/opt/python /opt/venv\n" == done.stdout
    assert "uv's Python 3.13.99" in done.stderr
    launch.environ.clear()
    assert "/opt/python /opt/venv\n" == launch(*typed, "image.requirements=[six]").stdout

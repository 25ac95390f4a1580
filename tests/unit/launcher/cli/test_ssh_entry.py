"""The entry for `~/.ssh/config`, read by OpenSSH's client."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.dev.ssh_access import include_line, write_entry
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("ssh")


@pytest.fixture
def including(tmp_path: Path) -> Iterator[Path]:
    """A user's configuration with the line that was printed, for a LAUNCH_HOME that has a blank in its name."""
    state = StateDir(tmp_path / "her own $home").ensure()
    config = tmp_path / "config"
    config.write_text(f"{include_line(write_entry(state))}\nHost *\n    User ada\n")
    yield config
    assert 0o700 == (state.root / "ssh").stat().st_mode & 0o777
    assert 0o600 == (state.root / "ssh/host_key").stat().st_mode & 0o777


def ssh(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh", "-F", str(config), *words], capture_output=True, text=True, timeout=120, check=False)


def test_hosts_are_reached_through_launch_with_its_home(including: Path) -> None:
    refused = ssh(including, "-o", "BatchMode=yes", "Nobody.launch", "true")
    assert (255, True) == (refused.returncode, "no container to work in is called `nobody`" in refused.stderr), refused.stderr


def test_the_server_is_known_and_other_hosts_are_left_alone(including: Path) -> None:
    known = dict(line.split(" ", 1) for line in ssh(including, "-G", "any.launch").stdout.splitlines() if " " in line)
    assert ("launch", "true", "ada") == (known["hostkeyalias"], known["stricthostkeychecking"], known["user"])
    file = Path(known["userknownhostsfile"])
    assert file.read_text().startswith("launch ssh-ed25519 ")
    other = ssh(including, "-G", "elsewhere.example").stdout
    assert "proxycommand" not in other
    assert "hostkeyalias" not in other

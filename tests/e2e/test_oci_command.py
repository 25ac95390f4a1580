"""`launch oci`: bundles of others by the command that people have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.oci_bundle import python_configuration, write_bundle
from tests.kernel.userland import base_layer, userland

LAUNCH = (sys.executable, "-m", "launcher.warm.client")

pytestmark = pytest.mark.requires("root", "netns", "proc")


def oci(directory: Path, *words: str, check: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`launch oci` with records below *directory*."""
    argv = [*LAUNCH, "oci", "--root", str(directory / "records"), *words]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    ended = subprocess.run(argv, env={**os.environ, **(env or {})}, text=True, timeout=60, check=False, **streams)
    assert check == ended.returncode, (words, ended.stdout, ended.stderr)
    return ended


def test_a_bundle_is_described_and_run_by_what_spec_writes(tmp_path: Path) -> None:
    """The way of the guide: a configuration to begin with, a root file system beside it, and one command."""
    bundle = tmp_path / "b"
    base_layer(bundle / "rootfs")
    oci(tmp_path, "spec", "--bundle", str(bundle))
    file = bundle / "config.json"
    document = json.loads(file.read_text())
    assert document["process"]["args"] == ["sh"]
    binds = [{"destination": one.target, "type": "bind", "source": str(one.source), "options": ["rbind"]} for one in userland()]
    document["mounts"] += binds
    document["process"] |= {"args": ["sh", "-c", "echo I am $$; exit 7"], "terminal": False}
    file.write_text(json.dumps(document))
    ended = oci(tmp_path, "run", "--bundle", str(bundle), f"e2e-{os.getpid()}", check=7)
    assert "I am 1\n" == ended.stdout
    assert "[]" == oci(tmp_path, "list", "--format", "json").stdout.strip()


def test_the_life_of_a_container_from_create_to_delete(tmp_path: Path) -> None:
    name = f"e2e-life-{os.getpid()}"
    bundle = write_bundle(tmp_path, python_configuration("import time\nprint('begun', flush=True)\ntime.sleep(60)\nanswer = 1"))
    with (tmp_path / "said").open("w") as said:
        argv = [*LAUNCH, "oci", "--root", str(tmp_path / "records")]
        create = [*argv, "create", "--bundle", str(bundle), name]
        subprocess.run(create, check=True, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60)
    try:
        assert "created" == json.loads(oci(tmp_path, "state", name).stdout)["status"]
        oci(tmp_path, "start", name)
        assert "running" == json.loads(oci(tmp_path, "state", name).stdout)["status"]
        assert "time.sleep(60)" in oci(tmp_path, "exec", name, "cat", "/proc/1/cmdline").stdout
        assert "stats" == json.loads(oci(tmp_path, "events", "--stats", name).stdout)["type"]
        assert "is running, not stopped" in oci(tmp_path, "delete", name, check=1).stderr
    finally:
        oci(tmp_path, "delete", "--force", name)
    refused = oci(tmp_path, "state", name, check=1)
    assert f"error: container `{name}` does not exist" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_command_that_nobody_knows_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    refused = oci(tmp_path, "crate", check=2)
    assert "unknown command `crate`" in refused.stderr
    assert "create" in refused.stderr

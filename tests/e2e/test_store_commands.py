"""What the store holds can be listed, removed and checked from the command line, and is made again as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = pytest.mark.requires("overlayfs", "userns")


def test_a_removed_image_is_built_again_with_the_same_digest(tmp_path: Path, probe_project: Path) -> None:
    launch = Launch(tmp_path / "home", probe_project)
    first = json.loads(launch("build", "experiment=probe", "--json").stdout)
    listed = json.loads(launch("images", "--json").stdout)
    assert [(first["image_digest"], ["probe"])] == [(image["image_digest"], image["names"]) for image in listed]
    assert "0 damaged" in launch("store", "check").stderr
    launch("images", "rm", "probe")
    assert [] == json.loads(launch("images", "--json").stdout)
    assert "4 layers" in launch("store", "gc", "--keep-days", "0").stdout
    again = json.loads(launch("build", "experiment=probe", "--json").stdout)
    assert (first["image_digest"], 4) == (again["image_digest"], again["built"])


def test_a_damaged_layer_is_found_and_removed(tmp_path: Path, probe_project: Path) -> None:
    launch = Launch(tmp_path / "home", probe_project)
    built = json.loads(launch("build", "experiment=probe", "--json").stdout)
    code = built["layers"][-1]["diff_id"].removeprefix("sha256:")
    (tmp_path / "home/store/layers" / code / "root/workspace/probe.py").write_text("print('other')\n")
    assert code[:12] in launch("store", "check", check=1).stdout
    launch("store", "check", "--repair")
    assert "hello from" in launch("experiment=probe").stdout

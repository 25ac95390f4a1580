"""What the store holds can be listed, removed and checked from the command line, and is made again as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from image_maker import image_of
from launch_command import EXPERIMENT, Launch, write_project

from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns")


@pytest.mark.requires("patience")
def test_a_removed_image_is_built_again_with_the_same_digest(tmp_path: Path, probe_project: Path) -> None:
    launch = Launch(tmp_path / "home", probe_project)
    first = json.loads(launch("build", "experiment=probe", "--json").stdout)
    listed = json.loads(launch("images", "--json").stdout)
    assert [(first["image_digest"], ["probe"])] == [(image["image_digest"], image["names"]) for image in listed]
    assert "0 damaged" in launch("store", "check").stderr
    launch("images", "pin", "probe")
    assert [] == gone(launch, "--all")["images"], "a pin keeps what a name would not"
    launch("images", "unpin", "probe")
    dry = gone(launch, "--all", "--dry-run")
    assert [first["image_digest"]] == [image["image_digest"] for image in dry["images"]]
    named = gone(launch)
    assert ([], [["probe"]]) == (named["images"], [image["names"] for image in named["only_named"]])
    unit = launch("gc", "--max-size", "10", "--dry-run", check=2).stderr
    assert ("--max-size 10: of what" in unit, "`--max-size 10GB`" in unit) == (True, True)
    full = launch("gc", "--max-size", "1MB", "--dry-run", check=1)
    assert "only kept by a name: `probe`; `--all` takes them too" in full.stderr
    launch("images", "rm", "probe")
    assert [] == json.loads(launch("images", "--json").stdout)
    assert "4 layers" in launch("store", "gc", "--keep-days", "0").stdout
    assert [] == list((tmp_path / "home/store/layers").iterdir())
    again = json.loads(launch("build", "experiment=probe", "--json").stdout)
    assert (first["image_digest"], 4) == (again["image_digest"], again["built"])


def gone(launch: Launch, *options: str) -> dict[str, Any]:
    return json.loads(launch("gc", "--keep-days", "0", "--json", *options).stdout)


def test_an_image_that_a_run_uses_is_never_collected(launch: Launch) -> None:
    run = launch("experiment=probe", "params.how=sleep", "-d").stdout.strip()
    try:
        digest = launch.record(run)["image_digest"]
        images = gone(launch, "--all", "--dry-run")["images"]
        assert digest not in [image["image_digest"] for image in images]
        assert f"run `{run}` uses image" in launch("images", "rm", "probe", check=2).stderr
    finally:
        launch("kill", run)


def test_a_damaged_layer_is_found_and_built_again_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "other").ensure()
    export_oci_layout(image_of(store, {"etc/hostname": "box\n"}), store, tmp_path / "base")
    on_it = EXPERIMENT.replace("image: {", f"image: {{base: 'oci:{tmp_path}/base', ")
    launch = Launch(tmp_path / "home", write_project(tmp_path / "project", "probe", experiment=on_it))
    built = json.loads(launch("build", "experiment=probe", "--json").stdout)
    code = built["layers"][-1]["diff_id"].removeprefix("sha256:")
    (tmp_path / "home/store/layers" / code / "root/workspace/probe.py").write_text("print('other')\n")
    assert code[:12] in launch("store", "check", check=1).stdout
    assert "image `probe` is complete again" in launch("store", "check", "--repair").stderr
    assert [] == json.loads(launch("store", "check", "--json").stdout)
    again = json.loads(launch("build", "experiment=probe", "--json").stdout)
    assert (built["image_digest"], 0) == (again["image_digest"], again["built"])

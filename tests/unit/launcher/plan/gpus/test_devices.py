"""`devices:` of an experiment: nodes, words and CDI names, and what is said of one that isn't there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.errors import ConfigError, Origin
from launcher.plan.gpus.devices import edits_for, refuse_missing_devices
from runtime.errors import GpuError


@pytest.fixture
def cdi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCH_CDI_DIRS", f"{tmp_path}/etc:{tmp_path}/run")
    (tmp_path / "run").mkdir()
    edits = {"deviceNodes": [{"path": "/dev/accel", "hostPath": "/dev/null"}], "env": ["ACCEL=1"]}
    content = {"cdiVersion": "0.6.0", "kind": "v.com/accel", "devices": [{"name": "x0", "containerEdits": edits}]}
    (tmp_path / "run/v.json").write_text(json.dumps(content))
    return tmp_path


def test_nodes_words_and_names_come_together(cdi: Path) -> None:
    found = edits_for(["/dev/zero", "v.com/accel=x0"])
    assert {"/dev/zero": "/dev/zero", "/dev/accel": "/dev/null"} == {one.target: str(one.source) for one in found.nodes}
    assert {"ACCEL": "1"} == dict(found.env)


@pytest.mark.parametrize(
    ("entry", "words", "hint"),
    [
        ("v.com/accel=x1", "no CDI device `v.com/accel=x1`", "did you mean `v.com/accel=x0`?"),
        ("v.com=x1", "is not `vendor/class`", ""),
        ("/dev/nope", "no device `/dev/nope`", ""),
        ("/etc/passwd", "not below /dev", "`data`"),
        ("/dev/shm", "not a device", "`data`"),
        ("/dev/../etc", "not below /dev", ""),
        ("infinband", "is not a device", "did you mean `infiniband`?"),
        ("kvm", "is not a device", "`/dev/kvm`"),
        ("imex:x", "names no channel", "`imex:0`"),
        ("gds:1", "takes no number", ""),
        ("gds", "there is no `/dev/nvidia-fs*`", "modprobe nvidia-fs"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do(
    cdi: Path, monkeypatch: pytest.MonkeyPatch, entry: str, words: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        refuse_missing_devices([entry], lambda key: Origin(override=key))
    assert words in raised.value.message
    assert hint in (raised.value.hint or "")
    assert Origin(override="devices") == raised.value.origin


@pytest.mark.requires("root")
def test_words_stand_for_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("infiniband/uverbs0", "infiniband/rdma_cm", "nvidia-fs0", "gdrdrv", "nvidia-caps-imex-channels/channel3")
    of_administrators = ("infiniband/umad0", "infiniband/issm0")
    for name in (*names, *of_administrators):
        path = tmp_path / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(path, 0o020666, os.makedev(1, 3))
        path.chmod(0o600 if name in of_administrators else 0o666)
    monkeypatch.setenv("LAUNCH_DEV_ROOT", str(tmp_path))
    found = edits_for(["infiniband", "gds", "gdrcopy", "imex:3"])
    assert {f"/dev/{name}" for name in names} == {one.target for one in found.nodes}
    (tmp_path / "dev/gdrdrv").chmod(0o600)
    with pytest.raises(GpuError, match="only its owner may use it"):
        edits_for(["gdrcopy"])

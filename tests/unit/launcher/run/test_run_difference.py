"""What differs between two recorded runs is read from their directories alone."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.plots.terminal import sparkline
from launcher.journal.status import RunStatus
from launcher.run.compare.run_difference import RunDifference, run_difference
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir


def recorded(
    directory: Path, *, code: dict[str, str], lr: float, wheels: dict[str, str], losses: list[float], **plan: Any
) -> RunRecord:
    run_dir = RunDir(directory)
    run_dir.outputs.mkdir(parents=True)
    (run_dir.outputs / "same.txt").write_text("same")
    (run_dir.outputs / "model.bin").write_text(str(lr))
    files = [[path, 0o644, sha256(text.encode()).hexdigest()] for path, text in code.items()]
    document = {
        "spec": {
            "params": {"lr": lr},
            "workdir": "/workspace",
            "image": {"base": "bootstrap:debian/trixie"},
            "sweep": {"seed": lr},
        },
        "origins": {"params": "conf/x.yaml:3", "params.lr": f"line {lr}"},
        "base_digest": "sha256:b",
        "code": {"files": files, "git": None},
        "lock": {"python": "3.13.5", "wheels": [{"name": name, "version": version} for name, version in wheels.items()]},
        "data": {},
        "threads": 2,
        **plan,
    }
    run_dir.plan.write_text(json.dumps({"plan": document}))
    run_dir.metrics.write_text("".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in enumerate(losses)))
    with tarfile.open(directory / "code.tar", "w") as archive:
        for path, text in code.items():
            member = tarfile.TarInfo(f"workspace/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return RunRecord(run_dir, directory.name, RunStatus.FINISHED, datetime.now(UTC), host="a")


@pytest.fixture
def found(tmp_path: Path) -> RunDifference:
    before = recorded(
        tmp_path / "a",
        code={"t.py": "x = 1\ny = 2\n", "old.py": "", "b/t.py": "z"},
        lr=0.1,
        wheels={"numpy": "1", "tqdm": "4"},
        losses=[3, 2],
    )
    after = recorded(
        tmp_path / "b",
        code={"t.py": "x = 1\ny = 3\n", "b/t.py": "z"},
        lr=0.2,
        wheels={"numpy": "2", "humanize": "1"},
        losses=[3, 1],
        threads=4,
    )
    return run_difference(before, after)


def test_a_setting_is_named_with_both_origins(found: RunDifference) -> None:
    assert [(each.name, each.before, each.after, each.origins) for each in found.config] == [
        ("params.lr", 0.1, 0.2, ("line 0.1", "line 0.2"))
    ]


def test_code_is_compared_line_by_line(found: RunDifference) -> None:
    changed = {each.path: each for each in found.code}
    assert {path: each.kind for path, each in changed.items()} == {"t.py": "changed", "old.py": "removed"}
    assert changed["t.py"].patch[-2:] == ("-y = 2", "+y = 3")


def test_packages_and_the_machine_s_share_are_compared(found: RunDifference) -> None:
    assert [(each.name, each.before, each.after) for each in found.packages] == [
        ("humanize", None, "1"),
        ("numpy", "1", "2"),
        ("tqdm", "4", None),
    ]
    assert [(each.name, each.before, each.after) for each in found.machine] == [("threads", 2, 4)]


def test_metrics_differ_from_their_first_different_step(found: RunDifference) -> None:
    assert [(each.name, each.before, each.after, each.first_different_step) for each in found.metrics] == [
        ("loss", (3.0, 2.0), (3.0, 1.0), 1)
    ]


def test_outputs_are_compared_by_content(found: RunDifference) -> None:
    assert ([each.name for each in found.outputs], found.equal_outputs) == (["model.bin"], 1)


def test_the_difference_is_json(found: RunDifference) -> None:
    assert json.loads(json.dumps(found.to_json()))["metrics"][0]["after"] == {"last": 1.0, "min": 1.0, "max": 3.0, "steps": 2}


def test_a_curve_fits_into_a_line() -> None:
    assert sparkline([0, 1, 2, float("nan"), 7]) == "▁▂▃·█"
    assert len(sparkline(list(range(1000)))) == 16
    assert sparkline([2, 2]) == "▄▄"
    assert sparkline([]) == ""

"""The shipped training code runs by itself, keeps to the contract, and leaves the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_user

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def contract(directory: Path, params: dict[str, object] | None = None) -> dict[str, str]:
    """The variables that launch would set, with everything below *directory*."""
    directory.mkdir(exist_ok=True)
    (directory / "params.json").write_text(json.dumps(params or {}))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LAUNCH_PARAMS": str(directory / "params.json"),
        "LAUNCH_OUTPUTS": str(directory / "outputs"),
        "LAUNCH_CHECKPOINTS": str(directory / "checkpoints"),
        "LAUNCH_METRICS": str(directory / "metrics.jsonl"),
        "LAUNCH_SEED": "3",
        "PYTHONHASHSEED": "3",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def train(name: str, *arguments: str, env: dict[str, str], cwd: Path) -> str:
    program = [sys.executable, "-B", str(EXPERIMENTS / name / "train.py"), *arguments]
    return subprocess.run(program, env=env, cwd=cwd, capture_output=True, text=True, check=True).stdout


def digests(directory: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}


def test_digits_reports_every_epoch_and_leaves_the_same_bytes_twice(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for name in ("first", "second"):
        said = train("digits", "--lr=0.01", env=contract(tmp_path / name, {"epochs": 2, "hidden": [16], "lr": 5}), cwd=tmp_path)
        assert "lr=0.01 epochs=2 hidden=[16]" in said  # the command line wins over the parameter file
    metrics = [json.loads(line) for line in (tmp_path / "first/metrics.jsonl").read_text().splitlines()]
    assert [1, 2] == [line["step"] for line in metrics]
    assert {"step", "loss", "accuracy", "val_loss", "val_accuracy"} == set(metrics[-1])
    first = digests(tmp_path / "first/outputs")
    assert ["confusion_matrix.png", "model.npz", "results.json"] == list(first)
    assert first == digests(tmp_path / "second/outputs")


def test_digits_works_alone(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert 3 == len(train("digits", "--epochs=2", "--hidden", "8", env=env, cwd=tmp_path).splitlines())
    assert (tmp_path / "outputs/results.json").is_file()


needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@needs_torch
def test_resnet_goes_on_where_it_was_stopped_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    params: dict[str, object] = {"epochs": 3, "depth": 8, "batch_size": 256}
    train("resnet", env=contract(tmp_path / "whole", params), cwd=tmp_path)
    env = contract(tmp_path / "stopped", params)
    with subprocess.Popen([sys.executable, str(EXPERIMENTS / "resnet/train.py")], env=env, stdout=subprocess.DEVNULL) as program:
        deadline = time.monotonic() + 120
        while not (tmp_path / "stopped/checkpoints/last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        program.send_signal(signal.SIGTERM)
        assert 143 == program.wait(timeout=30)
    assert "resumed after epoch" in train("resnet", env=env, cwd=tmp_path)
    assert digests(tmp_path / "whole/outputs") == digests(tmp_path / "stopped/outputs")


@needs_torch
def test_resnet_trains_in_two_processes(tmp_path: Path) -> None:
    env = contract(tmp_path / "run", {"epochs": 1, "depth": 8}) | {"PET_NPROC_PER_NODE": "2"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", str(EXPERIMENTS / "resnet/train.py")]
    done = subprocess.run(torchrun, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "2 × cpu" in done.stdout
    assert 1 == len((tmp_path / "run/metrics.jsonl").read_text().splitlines())  # one process reports

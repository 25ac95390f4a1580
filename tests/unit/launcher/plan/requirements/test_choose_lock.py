"""Where lock files lie, and which is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.plan.requirements.choose_lock import lock_file, lock_files

EXPERIMENT = Path("conf/experiment/resnet.yaml")


@pytest.mark.parametrize(
    ("variant", "pylock", "name"),
    [
        (None, False, "resnet.lock"),
        ("cpu", False, "resnet.cpu.lock"),
        ("cu128", False, "resnet.cu128.lock"),
        (None, True, "pylock.resnet.toml"),
        ("cpu", True, "pylock.resnet-cpu.toml"),
    ],
)
def test_a_lock_has_a_name_for_each_variant(variant, pylock, name):
    assert lock_file(EXPERIMENT, variant, pylock=pylock).name == name


def test_auto_looks_at_every_variant_that_was_locked(tmp_path):
    experiment = tmp_path / "resnet.yaml"
    for name in ("resnet.cpu.lock", "resnet.cu128.lock", "resnet.lock", "other.cpu.lock"):
        (tmp_path / name).touch()
    found = [path.name for path in lock_files(experiment, "auto") if path.exists()]
    assert found == ["resnet.cu128.lock", "resnet.cpu.lock"]  # the newest CUDA first

"""Build steps that see a GPU of a made machine: which one, leased meanwhile, and without a trace in the layer."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box
from shell_layer import shell_layer

from runtime.build.cache_key import step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import RunCommand
from runtime.build.run.apply_run_command import apply_run_command
from runtime.errors import BuildError
from runtime.gpu.leases.lease import Unit, holders, release, take
from runtime.gpu.leases.lock_files import lease_dir
from runtime.store.records import Layer
from runtime.store.store import Store

pytestmark = pytest.mark.requires("cc", "root", "overlayfs", "idmapped-mounts", "proc")

LOOK = "ls /dev > /seen; ls $LD_LIBRARY_PATH >> /seen"


class Told(NullObserver):
    """Hears that a step waits."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.waits = threading.Event()

    def message(self, text: str) -> None:
        self.words.append(text)
        self.waits.set()


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuBox]:
    with tempfile.TemporaryDirectory(prefix="launch-box-") as directory:
        os.chmod(directory, 0o755)  # as /dev is: a container's own user looks there
        made = make_box(Path(directory) / "box", model=["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"])
        made.use(monkeypatch)
        yield made
        made.remove()


@pytest.fixture
def base(store: Store) -> list[Layer]:
    return [shell_layer(store)]


def on_gpu(script: str, architecture: str) -> RunCommand:
    return RunCommand(("sh", "-ec", script), label="script", gpu=architecture)


def test_a_step_sees_one_gpu_of_its_architecture_and_its_layer_nothing_of_it(
    box: GpuBox, store: Store, base: list[Layer]
) -> None:
    step = on_gpu(LOOK, "9.0")
    layer = apply_run_command(step, store=store, below=base, observer=NullObserver())
    seen = (store.layer_dir(layer) / "seen").read_text().split()
    h100, a100 = (box.state["gpus"][index]["minor"] for index in (1, 0))
    assert {f"nvidia{h100}", "nvidiactl", "nvidia-uvm", "libcuda.so.1"} <= set(seen)
    assert f"nvidia{a100}" not in seen
    assert ["seen"] == [entry.path for entry in store.tree_of(layer)]
    assert not holders(box.uuids)
    assert step_key(step, None) != step_key(on_gpu(LOOK, "8.0"), None)


def test_a_step_waits_for_a_gpu_that_is_leased_and_holds_its_own_meanwhile(box: GpuBox, store: Store, base: list[Layer]) -> None:
    lease = take(lease_dir(), [Unit(box.uuids[1])], {"run": "a1b2c3"})
    assert lease is not None
    told = Told()
    made: list[Layer] = []
    step = on_gpu("cat /dev/null > /made", "9.0")
    build = threading.Thread(
        target=lambda: made.append(apply_run_command(step, store=store, below=base, observer=told)), daemon=True
    )
    build.start()
    assert told.waits.wait(60)
    assert (["`script` waits for a GPU (`9.0`): all are in use"], []) == (told.words, made)
    release(lease)
    build.join(60)
    assert made
    assert not holders(box.uuids)


def test_without_such_a_gpu_it_says_what_is_here(box: GpuBox, store: Store, base: list[Layer]) -> None:
    with pytest.raises(BuildError) as failed:
        apply_run_command(on_gpu("true", "8.9"), store=store, below=base, observer=NullObserver())
    assert "`script` was planned for a GPU of architecture `8.9`, and none is usable here" == failed.value.message
    assert "NVIDIA A100-SXM4-80GB (`8.0`), NVIDIA H100 80GB HBM3 (`9.0`)" in str(failed.value.hint)

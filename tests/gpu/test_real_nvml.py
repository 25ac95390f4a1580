"""What NVML answers on a real machine: compared with nvidia-smi, and recorded beside what the made machine answers."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nvml_calls import shape_of

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.driver import find_driver

pytestmark = pytest.mark.gpu

HERE = Path(__file__).parent
SLOWEST_MS = 1000.0


def asked(env: Mapping[str, str] | None = None) -> dict[str, Any]:
    path = ":".join((str(HERE.parents[1]), *filter(None, sys.path)))
    done = subprocess.run(
        [sys.executable, str(HERE / "nvml_calls.py")],
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_call_answers_or_says_why_not_and_in_time(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    found = asked()
    evidence |= found
    odd = {name: one["reason"] for name, one in found["answers"].items() if not one.get("reason", "NVMLError").startswith("NVML")}
    assert odd == {}
    assert [] == [name for name, one in found["answers"].items() if one["ms"] > SLOWEST_MS]
    assert gpus[0].uuid == found["answers"]["UUID"]["value"]


def test_nvml_comes_up_soon(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    """Without persistence mode the driver initialises a GPU that nobody uses each time."""
    found = [asked() for _ in range(3)]
    evidence |= {"ms": [one["init_ms"] for one in found], "persistence": found[0]["answers"]["PersistenceMode"]}
    assert min(one["init_ms"] for one in found) < 5000


def test_nvidia_smi_says_the_same(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    try:
        said = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, text=True, check=False, timeout=60).stdout
        root = ElementTree.fromstring(said)
    except (OSError, ElementTree.ParseError) as error:
        pytest.skip(f"no nvidia-smi that writes XML: {error}")
    evidence["said"] = said[:100_000]
    by_uuid = {str(one.findtext("uuid")): one for one in root.iter("gpu")}
    assert {gpu.uuid for gpu in gpus} <= by_uuid.keys()
    for gpu in gpus:
        one = by_uuid[str(gpu.uuid)]
        assert gpu.model == one.findtext("product_name")
        assert gpu.minor == int(str(one.findtext("minor_number")))
        assert gpu.pci_bus_id is not None
        assert gpu.pci_bus_id.lower().split(":", 1)[1] == one.attrib["id"].lower().split(":", 1)[1]
        assert gpu.memory_bytes is not None
        assert abs((gpu.memory_bytes >> 20) - int(str(one.findtext("fb_memory_usage/total")).split()[0])) <= 1
        assert gpu.mig_enabled == (one.findtext("mig_mode/current_mig") == "Enabled")
    assert gpus[0].driver == root.findtext("driver_version")
    if (cuda := root.findtext("cuda_version")) and gpus[0].cuda:
        assert ".".join(map(str, gpus[0].cuda)) == cuda


def test_the_library_has_every_function_of_the_made_one(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    names: set[str] = set()
    for source in (HERE.parent / "gpu_box").glob("nvml*.c"):
        found = re.findall(r"^(?:answer |(?:TEXT|NUMBER)_OF\(|const char \*)(nvml\w+)\b", source.read_text(), re.MULTILINE)
        names |= set(found)
    place = os.environ.get("LAUNCH_NVML_LIBRARY") or str(find_driver().directories[0] / "libnvidia-ml.so.1")
    library = ctypes.CDLL(place)
    evidence["missing"] = missing = sorted(name for name in names if not hasattr(library, name))
    assert len(names) > 60
    assert missing == []


@pytest.mark.requires("cc")
def test_the_made_machine_answers_in_the_same_shapes(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    """For each that differs the report has both: correct tests/gpu_box*."""
    from gpu_box import make_box
    from gpu_box_state import MODELS

    model = str(gpus[0].model) if str(gpus[0].model) in MODELS else "NVIDIA H100 80GB HBM3"
    box = make_box(tmp_path / "box", gpus=1, model=model)
    try:
        made, real = asked(box.env)["answers"], asked()["answers"]
    finally:
        box.remove()
    shapes = {name: {"real": shape_of(real[name]), "made": shape_of(made[name])} for name in real}
    evidence["fixture"] = real
    evidence["differs"] = differs = {name: both for name, both in shapes.items() if both["real"] != both["made"]}
    structures = {name: both for name, both in differs.items() if not any(isinstance(one, str) for one in both.values())}
    fields = {
        name for name, both in structures.items() if isinstance(both["real"], dict) and both["made"].keys() != both["real"].keys()
    }
    assert fields == set()

"""The driver of a real machine: where it is, what it consists of, what it answers; recorded for the made machine of the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.gpu.cdi.document import DeviceName
from runtime.gpu.cdi.files import read_catalogue
from runtime.gpu.cdi.generate import EVERYTHING, nvidia_specification
from runtime.gpu.cdi.resolve import device_edits
from runtime.gpu.cdi.serialize import as_json, as_yaml
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import injection
from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.nvidia.driver_files import libraries_in
from runtime.gpu.nvidia.forward_compat import Compat, decide
from runtime.gpu.nvidia.proc_driver import module_version
from runtime.gpu.nvidia.requirements import Has, is_met
from runtime.gpu.roots import Roots

pytestmark = pytest.mark.gpu


def test_each_way_of_looking_finds_a_driver_of_the_modules_version(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    started = time.perf_counter()
    found = find_driver()
    evidence |= {"ms": round(1000 * (time.perf_counter() - started), 1), "found": str(found)}
    assert found.version == module_version(Roots.of_this_machine()) == gpus[0].driver


def test_every_library_that_torch_opens_of_the_driver_is_given(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    code = "import torch; torch.zeros(1).cuda(); print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout
    opened = {Path(line.split()[-1]).name for line in maps.splitlines() if line.endswith(find_driver().version)}
    given = {path.name for path in libraries_in(injection(gpus, [str(gpus[0].uuid)]).mounts)}
    evidence |= {"opened": sorted(opened), "given": sorted(given)}
    assert opened
    assert opened <= given


def test_the_written_specification_is_what_a_run_gets_and_stays_the_same(
    gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]
) -> None:
    started = time.perf_counter()
    spec, notes = nvidia_specification(gpus, hook=None)
    evidence |= {"ms": round(1000 * (time.perf_counter() - started), 1), "notes": notes, "specification": as_yaml(spec)}
    assert as_json(spec) == as_json(nvidia_specification(gpus, hook=None)[0])
    (tmp_path / "nvidia.json").write_text(as_json(spec))
    applied = device_edits([DeviceName("nvidia.com/gpu", str(gpus[0].index))], read_catalogue([tmp_path])).sorted()
    direct = injection(gpus, [str(gpus[0].uuid)], capabilities=EVERYTHING)
    assert (direct.nodes, direct.env) == (applied.nodes, applied.env)
    # Only the directories differ: for others the libraries lie where loaders look, in Debian's and in everybody else's.
    ours, others = ({(one.source, Path(one.target).name) for one in edits.mounts} for edits in (direct, applied))
    assert ours == others


@pytest.mark.parametrize("ahead", [1, 2])
def test_forward_compatibility_is_decided_against_the_real_driver(
    gpus: tuple[Gpu, ...], ahead: int, evidence: dict[str, Any]
) -> None:
    driver = str(gpus[0].driver)
    branch = int(driver.partition(".")[0])
    newer = decide(Compat(f"{branch + 10 * ahead}.10"), driver, gpus)
    older = decide(Compat(f"{branch - 10 * ahead}.10"), driver, gpus)
    evidence |= {"newer": newer.why, "older": older.why}
    assert not older.use
    assert newer.use == ("geforce" not in str(gpus[0].model).lower())


def test_demands_of_images_are_judged(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    has = Has.of(gpus[0])
    evidence["has"] = str(has)
    assert gpus[0].cuda is not None
    major, minor = gpus[0].cuda
    assert is_met(f"cuda>={major}.{minor}", has)
    assert not is_met(f"cuda>={major}.{minor + 1}", has)
    assert not is_met("driver<400", has)

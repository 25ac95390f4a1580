"""Harnesses of what machines say: CDI specifications, ELF files, the loader's cache, NVML's answers, Slurm's words."""

from __future__ import annotations

import ctypes
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
from elf_maker import elf_that_needs
from harness import Harness

from launcher.cluster.checkup.slurm_checks import judge_version, partitions, read_settings
from launcher.cluster.slurm.job_states import sacct_jobs, squeue_jobs
from launcher.errors import LaunchError
from runtime.build.wheels.system_libraries import needed_glibc
from runtime.errors import BadContent, GpuError
from runtime.gpu.cdi.files import read_specification
from runtime.gpu.cdi.hooks import hook_edits
from runtime.gpu.elf import read_soname
from runtime.gpu.nvidia.describe import describe_gpus
from runtime.gpu.nvidia.device_reading import read_device, read_machine
from runtime.gpu.nvidia.load_reader import LoadReader
from runtime.gpu.nvidia.requirements import Has, is_met, wanted_cuda
from runtime.gpu.roots import Roots
from runtime.kernel.ld_cache import CachedLibrary, read_cache, with_libraries, write_cache


def _of_file(read: Callable[[Path], object], name: str) -> Callable[[bytes], None]:
    def read_written(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            path = Path(directory) / name
            path.write_bytes(content)
            read(path)

    return read_written


def _cdi(path: Path) -> None:
    found = read_specification(path)
    for edits in (found.edits, *(device.edits for device in found.devices)):
        for hook in edits.hooks:
            hook_edits(hook, ())


def _loader_cache(content: bytes) -> None:
    read_cache(content)
    with_libraries(content, (CachedLibrary("liba.so.1", "/usr/lib/liba.so.1"),))


class _Driver:
    """Stands below pynvml for libnvidia-ml: fills what it is asked to fill with the bytes of an input, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def function(self, name: str) -> Callable[..., int]:
        return lambda *arguments: self._call(arguments)

    def _take(self, size: int) -> bytes:
        taken = self._content[self._at : self._at + size]
        self._at += size
        return taken.ljust(size, b"\0")

    def _call(self, arguments: tuple[Any, ...]) -> int:
        code = self._take(1)[0]
        if code & 0x80:
            return (code & 0x1F) or 999
        for argument in arguments:
            target = getattr(argument, "_obj", argument)
            if isinstance(target, ctypes.Structure | ctypes.Array | ctypes._SimpleCData) and target is not arguments[0]:
                content = self._take(min(ctypes.sizeof(target), 256))
                ctypes.memmove(ctypes.addressof(target), content, len(content))
        return 0


_NOWHERE = Path("/nonexistent")
_ROOTS = Roots(_NOWHERE, _NOWHERE, _NOWHERE, _NOWHERE)


def _nvml(content: bytes) -> None:
    """Real pynvml over a library that answers with what an input says."""
    driver = _Driver(content)
    before = pynvml._nvmlGetFunctionPointer
    pynvml._nvmlGetFunctionPointer = driver.function
    try:
        machine = read_machine(pynvml)
        facts = [read_device(pynvml, index, driver=machine["driver"]) for index in range(min(machine["count"], 2))]
        told = json.loads(json.dumps(facts))  # as the process that asks tells it
        describe_gpus(told, machine, _ROOTS)
        reader = LoadReader(pynvml, ("GPU-1", "MIG-2"))
        reader.read()
        reader.read()
    finally:
        pynvml._nvmlGetFunctionPointer = before


def _slurm(read: Callable[[str], object]) -> Callable[[bytes], None]:
    def read_words(content: bytes) -> None:
        read(content.decode("utf-8", "replace"))

    return read_words


def _demands(content: bytes) -> None:
    """NVIDIA_REQUIRE_… of an image."""
    text = content.decode("utf-8", "replace")
    is_met(text, Has("12.8", "580.95", "9.0", ("tesla",)))
    wanted_cuda([text])


def _elf_with_soname() -> bytes:
    """A shared library that is nothing but its name: one segment that is loaded, and the dynamic one."""
    strings = b"\0libdemo.so.1\0"
    tags = struct.pack("<8Q", 5, 0x1000, 14, 1, 0, 0, 0, 0)
    at = 64 + 2 * 56
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, at + len(tags), 0x1000, 0x1000, len(strings), len(strings), 8)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, at, 0x2000, 0x2000, len(tags), len(tags), 8)
    return header + load + dynamic + tags + strings


_EDITS = {
    "env": ["A=b"],
    "deviceNodes": [
        {"path": "/dev/nvidia0", "hostPath": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0, "permissions": "rw", "uid": 1}
    ],
    "mounts": [{"hostPath": "/usr/lib/a.so", "containerPath": "/usr/lib/a.so", "options": ["ro", "bind"]}],
    "hooks": [
        {
            "hookName": "createContainer",
            "path": "/usr/bin/nvidia-cdi-hook",
            "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "a::/b"],
        }
    ],
    "additionalGids": [44],
    "intelRdt": {"closID": "a"},
    "netDevices": [{"hostInterfaceName": "eth1", "name": "eth0"}],
}
_CDI = json.dumps(
    {
        "cdiVersion": "1.1.0",
        "kind": "nvidia.com/gpu",
        "annotations": {"a": "b"},
        "devices": [{"name": "0", "containerEdits": _EDITS}],
        "containerEdits": _EDITS,
    }
).encode()
_CDI_YAML = b"""---
cdiVersion: 0.5.0
kind: vendor.com/device
devices:
  - name: one
    containerEdits:
      deviceNodes: [{path: /dev/a, permissions: rwm}]
      hooks:
        - {hookName: createContainer, path: /usr/bin/nvidia-ctk, args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib]}
"""
_CACHE = write_cache(
    (CachedLibrary("libb.so.2", "/lib/libb.so.2"), CachedLibrary("liba.so.1", "/lib/v3/liba.so.1", subdirectory="x86-64-v3"))
)
_SQUEUE = b"17|RUNNING|None|n1|0|0:0|N/A|\n18|PENDING|Resources|(null)|2|0:0|N/A|\n19|CANCELLED by 0|x|n[1-2]|0|3:9|2026|\n"
_SACCT = b"17|COMPLETED|n1|0:0\n18|CANCELLED by 1000|n1|0:15\n19|FAILED|None assigned|1:0\n"
_SINFO = b"gpu*|up|1-00:00:00|1/2/0/3|gpu:h100:8|\ngpu*|up|1-00:00:00|0/1/0/1|(null)|\n"
_SCONTROL = b"AccountingStorageType   = accounting_storage/slurmdbd\nKillWait = 30 sec\nGresTypes = (null)\n"
_NVML = (
    b"\0" + struct.pack("<I", 12080) + b"\0" + struct.pack("<I", 1) + b"\0580.95.05".ljust(81, b"\0") + bytes(1500),
    b"\0" * 4000,
    (b"\0\1\0\0\0" + b"GPU-1234" * 4) * 60,
)

HARNESSES = (
    Harness("CDI JSON", _of_file(_cdi, "a.json"), (BadContent, GpuError), (_CDI,), is_json=True),
    Harness(
        "CDI YAML",
        _of_file(_cdi, "a.yaml"),
        (BadContent, GpuError),
        (_CDI_YAML, _CDI),
        (b"&a ", b"*a", b"<<: ", b"!!python/", b"? ", b"2026-99-99"),
    ),
    Harness("ELF name", _of_file(read_soname, "a.so"), (), (_elf_with_soname(),)),
    Harness("ELF versions", _of_file(needed_glibc, "a.so"), (), (elf_that_needs({"libc.so.6": ["GLIBC_2.38", "GLIBC_2.4"]}),)),
    Harness("ld.so.cache", _loader_cache, (BadContent,), (_CACHE,)),
    Harness("NVML", _nvml, (pynvml.NVMLError, GpuError), _NVML),
    Harness(
        "NVIDIA_REQUIRE",
        _demands,
        (ValueError,),
        (b"cuda>=12.8 brand=tesla,driver>=535,driver<536",),
        (b"cuda", b"driver", b"arch", b">=", b"!=", b"brand="),
    ),
    Harness("squeue", _slurm(squeue_jobs), (LaunchError,), (_SQUEUE,), (b"|", "²".encode(), b"PREEMPTED")),
    Harness("sacct", _slurm(sacct_jobs), (LaunchError,), (_SACCT,), (b"|", "²".encode(), b"OUT_OF_MEMORY")),
    Harness("sinfo", _slurm(partitions), (), (_SINFO,), (b"|", b"/", "²".encode())),
    Harness("scontrol", _slurm(read_settings), (), (_SCONTROL,)),
    Harness("sbatch's version", _slurm(judge_version), (), (b"slurm-wlm 24.11.5",)),
)

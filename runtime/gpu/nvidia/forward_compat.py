"""CUDA forward compatibility: whether a newer libcuda that an image brings is used instead of the driver's.

Images have it in /usr/local/cuda/compat. A note in that library says for which drivers it is made; without one, its major
version decides (nvidia-cdi-hook, cudacompat). It works on data-centre GPUs only: on a GeForce CUDA answers 804, and one that is
older than the driver answers 803. Nothing of the image is mounted or run; its loader is told to look there first.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.requirements import is_geforce, version
from runtime.light_dataclasses import dataclass

DIRECTORY = "/usr/local/cuda/compat"
_FILE = re.compile(r"libcuda\.so\.(\d+(?:\.\d+)+)")
_SECTION = b".note.cuda.fwd_compatibility"
_OWNER = b"NVIDIA Corporation\0"
_LARGEST_NOTE = 1 << 16


@dataclass(frozen=True, slots=True)
class Compat:
    """The library in an image's compat directory."""

    version: str
    drivers: tuple[int, ...] | None = None
    """Major versions of the drivers that it is made for; None: it doesn't say."""
    cuda: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    use: bool
    why: str


def compat_in(directory: Path) -> Compat | None:
    """What lies in *directory*, an image's compat directory; None unless it is exactly one library."""
    try:
        found = [(match[1], path) for path in directory.iterdir() if (match := _FILE.fullmatch(path.name))]
    except OSError:
        return None
    if len(found) != 1:
        return None
    number, path = found[0]
    note = read_note(path)
    drivers = note.get("Driver")
    majors = tuple(one for one in drivers if isinstance(one, int)) if isinstance(drivers, list) else None
    cuda = note.get("CUDA Version")
    return Compat(number, majors, cuda if isinstance(cuda, str) else None)


def decide(compat: Compat, driver: str, gpus: Sequence[Gpu]) -> Decision:
    """Whether *compat* is used with *driver* on *gpus*."""
    consumer = next((gpu for gpu in gpus if is_geforce(gpu)), None)
    ours, theirs = version(driver), version(compat.version)
    if compat.drivers is not None:
        usable = ours[:1] and ours[0] in compat.drivers and theirs > ours
    else:
        usable = theirs[:1] > ours[:1]
    if not usable:
        return Decision(False, f"the image's libcuda {compat.version} is not made for driver {driver}: the driver's own is used")
    if consumer is not None:
        return Decision(
            False, f"the image's libcuda {compat.version} does not run on a {consumer.model}: the driver's own is used"
        )
    return Decision(True, f"the image's libcuda {compat.version} is used on driver {driver} (CUDA forward compatibility)")


def read_note(path: Path) -> dict[str, Any]:
    """The JSON in the note of a compat library; empty without one."""
    try:
        with path.open("rb") as file:
            header = file.read(64)
            if header[:6] != b"\x7fELF\x02\x01":
                return {}
            (sections,) = struct.unpack_from("<Q", header, 0x28)
            size, count, names = struct.unpack_from("<HHH", header, 0x3A)
            file.seek(sections)
            table = file.read(size * count)
            headers = [struct.unpack_from("<IIQQQQ", table, number * size) for number in range(count)]
            strings_at, strings_size = headers[names][4:6]
            file.seek(strings_at)
            strings = file.read(strings_size)
            for one in headers:
                if strings[one[0] :].split(b"\0", 1)[0] == _SECTION:
                    file.seek(one[4])
                    return _description(file.read(min(one[5], _LARGEST_NOTE)))
    except (OSError, struct.error, IndexError, ValueError):
        return {}
    return {}


def _description(note: bytes) -> dict[str, Any]:
    """The description of an ELF note (elf(5), "Notes"): name and description, each padded to four bytes."""
    name_size, size, _ = struct.unpack_from("<III", note)
    if note[12 : 12 + name_size] != _OWNER:
        return {}
    start = 12 + -(-name_size // 4) * 4
    found = json.loads(note[start : start + size].rstrip(b"\0"))
    return found if isinstance(found, dict) else {}

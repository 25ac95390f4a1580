"""The compiled parts of a box: libnvidia-ml, libcuda, and a stub for every other library of a driver. Once a session."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).parent / "gpu_box"
_PLACEHOLDER = b"lib-a-name-that-is-longer-than-every-soname-of-a-driver.so.0"
_MARK = b"GPUBOX01"


@cache
def _workshop() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="launch-gpu-box-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def nvml(driver: str) -> bytes:
    """libnvidia-ml.so.1 of *driver*: one before 510 lacks calls, those of 535.43 to 535.86 write another structure."""
    return _compiled(*sorted(_SOURCES.glob("nvml_*.c")), _SOURCES / "state.c", soname="libnvidia-ml.so.1", flags=_quirks(driver))


@cache
def cuda() -> bytes:
    return _compiled(_SOURCES / "cuda.c", _SOURCES / "state.c", soname="libcuda.so.1")


def stub(soname: str) -> bytes:
    """A library that can be loaded and has nothing in it but a name."""
    name = soname.encode()
    assert len(name) < len(_PLACEHOLDER)
    return _stub().replace(_PLACEHOLDER, name + bytes(len(_PLACEHOLDER) - len(name)))


def of_32_bit(library: bytes) -> bytes:
    """The same file, said to be of ELF class 32."""
    return library[:4] + b"\x01" + library[5:]


def with_state(library: bytes, state: Mapping[str, Any]) -> bytes:
    """*library* with *state* behind it, which it reads where no file is named: in a container (see state.h)."""
    document = json.dumps(state).encode()
    return library + document + len(document).to_bytes(8, "little") + _MARK


def _quirks(driver: str) -> tuple[str, ...]:
    major, minor = (int(part) for part in driver.split(".")[:2])
    if major < 510:
        return ("-DOLD_DRIVER",)
    return ("-DWIDE_PROCESSES",) if major == 535 and 43 <= minor <= 86 else ()


@cache
def _stub() -> bytes:
    source = _workshop() / "stub.c"
    source.write_text("int launch_gpu_box_stub;\n")
    return _compiled(source, soname=_PLACEHOLDER.decode())


def _compiled(*sources: Path, soname: str, flags: tuple[str, ...] = ()) -> bytes:
    target = _workshop() / f"{soname}{''.join(flags)}"
    options = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{soname}", "-Wl,-Bsymbolic")
    subprocess.run(["cc", *options, *flags, "-o", target, *sources, "-lpthread", "-ldl"], check=True, timeout=120)
    return target.read_bytes()

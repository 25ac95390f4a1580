"""The only place of pynvml: NVML opened, its refusals in plain sentences, and each value or the reason why it isn't told.

NVML is opened in a process of its own (`side_process.py`, `watcher.py`): a sick GPU can hang a call in the kernel for minutes,
and NVML makes no promise about fork.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import GpuError
from runtime.gpu.nvidia.driver import Driver, find_driver
from runtime.gpu.nvidia.proc_driver import module_version
from runtime.gpu.roots import Roots
from runtime.kernel import libc

DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH, UNKNOWN = 9, 12, 18, 999

_SONAME = "libnvidia-ml.so.1"
_LIBRARY = re.compile(r"/libnvidia-ml\.so\.(\d+(?:\.\d+)+)\s*$", re.MULTILINE)


def import_before_fork() -> None:
    """Give this process what its children need to ask NVML: each of them would import it again, for 80 ms. NVML isn't touched."""
    with suppress(ImportError):  # `open_nvml` says so
        import pynvml  # noqa: F401


@contextmanager
def open_nvml(roots: Roots | None = None) -> Iterator[Any]:
    """The module pynvml with NVML up, in this process: never before a fork. Raises GpuError when it does not come up."""
    try:
        import pynvml
    except ImportError:
        raise GpuError("the package nvidia-ml-py is not installed here", hint="install launch with its dependencies") from None
    roots = roots or Roots.of_this_machine()
    _preload(roots)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _refusal(int(error.value), roots) from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


class Answers:
    """Asks a device, and keeps the reasons of what it won't tell: one failing call hides no other."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.unknown: dict[str, str] = {}
        """Name → why."""
        self.codes: set[int] = set()
        """NVML's codes for what failed."""

    def ask(self, name: str, *calls: Callable[[], Any]) -> Any:
        """What the first of *calls* that answers says (a driver may lack a function, pynvml a name). None when none does."""
        for call in calls:
            try:
                answer = call()
            except self._nvml.NVMLError as error:
                # Wrapped at once: an NVMLError can't be hashed, and breaks when it is compared with None.
                self.codes.add(int(error.value))
                self.unknown[name] = str(error)
            except (self._nvml.NVMLLibraryMismatchError, AttributeError):
                self.unknown[name] = "not in this driver, or not in this nvidia-ml-py"
            except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
                self.unknown[name] = f"the driver's answer makes no sense: {type(error).__name__}"
            else:
                self.unknown.pop(name, None)
                return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        return None


def _preload(roots: Roots) -> None:
    """Load libnvidia-ml by its path, where the loader would not find it, or another: glibc then takes what is loaded already for
    the bare name that pynvml asks for, if the SONAME is the same."""
    named = os.environ.get("LAUNCH_NVML_LIBRARY")
    if named:
        try:
            libc.load_library(named)
        except OSError as error:
            raise GpuError(f"LAUNCH_NVML_LIBRARY: `{named}` can't be loaded: {error}") from None
    elif roots.driver != Path("/"):
        _load_from(find_driver(roots))
    else:
        try:
            libc.load_library(_SONAME)
        except OSError:
            with suppress(GpuError):
                _load_from(find_driver(roots))


def _load_from(driver: Driver) -> None:
    for directory in driver.directories:
        with suppress(OSError):
            libc.load_library(directory / _SONAME)
            return


def _refusal(code: int, roots: Roots) -> GpuError:
    if code == DRIVER_NOT_LOADED:
        return GpuError(
            "the NVIDIA driver is installed, but its kernel module is not loaded",
            hint="`modprobe nvidia` as root; in a virtual machine: is the GPU passed through?",
        )
    if code == LIBRARY_NOT_FOUND:
        return GpuError(
            "no NVIDIA driver here: libnvidia-ml.so.1 was not found",
            hint="install the driver; one that lies elsewhere: name the library in LAUNCH_NVML_LIBRARY",
        )
    if code == VERSION_MISMATCH:
        return _version_refusal(roots)
    if code == UNKNOWN:
        return _access_refusal(roots)
    return GpuError(f"NVML refuses to start with its error {code}", hint="`nvidia-smi` and the kernel log tell more")


def _version_refusal(roots: Roots) -> GpuError:
    loaded = _LIBRARY.search(Path("/proc/self/maps").read_text())
    library, module = loaded[1] if loaded else "of another version", module_version(roots) or "not told"
    return GpuError(
        f"the NVIDIA driver was upgraded under the running kernel: library {library}, kernel module {module}",
        hint="reboot, or reload the nvidia modules; what runs on the GPUs goes on, nothing new can start there",
    )


def _access_refusal(roots: Roots) -> GpuError:
    """`Unknown Error` at the start: the control node can't be opened, as in a container after `systemctl daemon-reload`."""
    node = roots.dev / "dev/nvidiactl"
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EPERM:
            return GpuError(
                f"a device cgroup forbids `{node}` (NVML: Unknown Error)",
                hint="in a container whose GPUs vanished: its manager or `systemctl daemon-reload` took them; start it again",
            )
        if error.errno in (errno.EACCES, errno.ENOENT):
            return GpuError(
                f"`{node}` can't be opened: {os.strerror(error.errno)} (NVML: Unknown Error)",
                hint="`ls -l /dev/nvidia*` shows who may; `nvidia-modprobe -c=0` as root makes the nodes",
            )
    return GpuError("NVML answers `Unknown Error`", hint="the kernel log tells more: `dmesg | grep -i -e nvrm -e xid`")

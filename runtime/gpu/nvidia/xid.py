"""Xid errors, the driver's numbers for errors of a GPU: what one means for a run, and the two places that tell of them.

NVML tells those that come while it is asked, at once. All others are in the kernel log only, where this user may read it (root,
mostly). The meanings are NVIDIA's (docs.nvidia.com/deploy/xid-errors).

Six of them a program causes; NVIDIA's own device plugin doesn't hold them against the GPU. The others are about the hardware
or its driver: the GPU may not be what the next run should get.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from runtime.gpu.roots import Roots


class XidMeaning(NamedTuple):
    """*spoils*: a program that was using the GPU can't go on, so that its failure isn't its own."""

    words: str
    by_program: bool = False
    spoils: bool = False
    lost: bool = False
    """The GPU is gone until somebody resets it: there is nothing to wait for."""


_BY_PROGRAM = {
    13: "a kernel of the program did something illegal (an array bound, an instruction)",
    31: "a kernel of the program read or wrote memory that isn't its own (a page fault on the GPU)",
    43: "the GPU stopped processing for the program, after an error of the program's",
    45: "the program's work on the GPU was cut off, as when it is killed or after another Xid",
    68: "the video decoder met an error, most likely in what the program gave it",
    109: "a kernel of the program ran into the time limit for a change of context",
}
_BY_HARDWARE = {
    48: XidMeaning("memory of the GPU has an error that can't be corrected (double-bit ECC)", spoils=True),
    61: XidMeaning("the GPU's microcontroller stopped", spoils=True),
    62: XidMeaning("the GPU's microcontroller halted", spoils=True),
    63: XidMeaning("a page or row of the GPU's memory is taken out of use; that takes effect with the next reset"),
    64: XidMeaning("a bad page or row of the GPU's memory could not be taken out of use", spoils=True),
    74: XidMeaning("NVLink met an error: a link, or the GPU at its other end"),
    79: XidMeaning("the GPU has fallen off the bus", spoils=True, lost=True),
    92: XidMeaning("memory of the GPU has many errors that are corrected"),
    94: XidMeaning("an error of the GPU's memory was contained: it ends the programs it concerns", spoils=True),
    95: XidMeaning("an error of the GPU's memory could not be contained: everything on the GPU ends", spoils=True),
    110: XidMeaning("the GPU's security engine met an error", spoils=True),
    119: XidMeaning("the GPU's system processor (GSP) does not answer the driver", spoils=True),
    120: XidMeaning("the GPU's system processor (GSP) met an error", spoils=True),
    140: XidMeaning("memory of the GPU has an error that can't be corrected", spoils=True),
}


def meaning(xid: int) -> XidMeaning:
    """What Xid *xid* says. One that isn't in the list is taken for the hardware's, which is the careful guess."""
    if xid in _BY_PROGRAM:
        return XidMeaning(_BY_PROGRAM[xid], by_program=True)
    return _BY_HARDWARE.get(xid) or XidMeaning("see NVIDIA's list of Xid errors")


def sentence(xid: int, gpu: str) -> str:
    """For the journal: `GPU 0 (GPU-91c2…) reports Xid 79: …`."""
    known = meaning(xid)
    advice = (
        "an error of the program's, not of the GPU"
        if known.by_program
        else "reset or reboot before it is used again (`launch gpus` shows its health)"
        if known.spoils
        else "keep an eye on it (`launch gpus` shows its health)"
    )
    return f"{gpu} reports Xid {xid}: {known.words}; {advice}"


_XID_EVENT = 0x8
"""nvmlEventTypeXidCriticalError: the one kind of event whose data is an Xid."""
_TIMEOUT = 10
_ANY_INSTANCE = 0xFFFFFFFF


class _Part(NamedTuple):
    """What of a card was asked for: all of it, or the slice of one GPU instance."""

    uuid: str
    instance: int | None = None


class XidEvents:
    """Those of *uuids*, GPUs or MIG slices. A card that doesn't tell of Xids is left out. *nvml* is `open_nvml`'s."""

    def __init__(self, nvml: Any, uuids: Sequence[str]) -> None:
        self._nvml = nvml
        self._events = nvml.nvmlEventSetCreate()
        self._parts: dict[bytes, list[_Part]] = {}
        """By NVML's handle of the card: one that is lost doesn't tell its UUID any more."""
        for uuid in uuids:
            try:
                self._register(uuid)
            except nvml.NVMLError:
                continue

    def __bool__(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._parts)

    def wait(self, timeout_ms: int) -> tuple[tuple[str, int], ...]:
        """(UUID, Xid) of the next event, for each that it concerns: one of a card concerns all its slices. Raises NVMLError."""
        nvml = self._nvml
        try:
            event = nvml.nvmlEventSetWait_v2(self._events, timeout_ms)
        except nvml.NVMLError as error:
            if int(error.value) == _TIMEOUT:
                return ()
            raise
        if not int(event.eventType) & _XID_EVENT:
            return ()
        parts = self._parts.get(bytes(event.device), [])
        instance = int(event.gpuInstanceId)
        concerned = [part for part in parts if part.instance is None or instance in (part.instance, _ANY_INSTANCE)]
        return tuple((part.uuid, int(event.eventData)) for part in concerned)

    def _register(self, uuid: str) -> None:
        nvml = self._nvml
        card, instance = nvml.nvmlDeviceGetHandleByUUID(uuid), None
        if uuid.startswith("MIG-"):
            instance = int(nvml.nvmlDeviceGetGpuInstanceId(card))
            card = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(card)
        if int(nvml.nvmlDeviceGetSupportedEventTypes(card)) & _XID_EVENT:
            nvml.nvmlDeviceRegisterEvents(card, _XID_EVENT, self._events)
            self._parts.setdefault(bytes(card), []).append(_Part(uuid, instance))


_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;.*\bNVRM: Xid \(PCI:([0-9a-fA-F:]+)(?: GPU-I:\d+)?(?: GPU-CI:\d+)?\): (\d+)")
"""`4,1802,934722100,-;NVRM: Xid (PCI:0000:18:00): 79, pid=4242, name=python3, GPU has fallen off the bus.`; of a GPU in slices
`(PCI:0000:18:00 GPU-I:05 GPU-CI:00)` (open-gpu-kernel-modules, kernel_rc.c, krcReportXid)."""
_RECORD_BYTES = 8192
_MOST_RECORDS = 100_000
_SEEN_FOR_S = 30.0


class LoggedXid(NamedTuple):
    address: str
    """`0000:18:00`: the function is not told."""
    xid: int
    at: float
    """Unix seconds."""


_seen: dict[Roots, tuple[float, tuple[LoggedXid, ...]]] = {}


def logged_xids(roots: Roots) -> tuple[LoggedXid, ...]:
    """All that the log still holds, oldest first; as of half a minute ago at the latest, since thousands of records take a while
    and whoever waits for a GPU looks twice a second."""
    at, found = _seen.get(roots, (-_SEEN_FOR_S, ()))
    if time.monotonic() - at > _SEEN_FOR_S:
        found = _read(roots)
        _seen[roots] = (time.monotonic(), found)
    return found


def _read(roots: Roots) -> tuple[LoggedXid, ...]:
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    matched = (_RECORD.match(record) for record in _records(roots))
    return tuple(LoggedXid(one[2].lower(), int(one[3]), booted_at + int(one[1]) / 1e6) for one in matched if one)


def _records(roots: Roots) -> list[str]:
    """Each read(2) of /dev/kmsg gives one record (Documentation/ABI/testing/dev-kmsg)."""
    records: list[str] = []
    try:
        log = os.open(roots.dev / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return records
    try:
        while len(records) < _MOST_RECORDS:
            try:
                content = os.read(log, _RECORD_BYTES)
            except BrokenPipeError:  # it was overwritten before we came to it
                continue
            if not content:
                break
            records += content.decode(errors="replace").splitlines()
    except OSError:  # EAGAIN: that was all; or we may not
        pass
    finally:
        os.close(log)
    return records

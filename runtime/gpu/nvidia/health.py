"""Whether a GPU is well, judged from what the driver tells of it: pure. What is wrong and why comes first, what to do behind it.

*Trouble* keeps a GPU from being used; a *warning* is shown and goes with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runtime.gpu.gpu import slowdowns

_FAILED_CALLS = {
    15: "lost: it has fallen off the bus (reboot, or reseat it; the kernel log has its Xid 79)",
    16: "it must be reset before it works again (`nvidia-smi --gpu-reset -i {index}` as root)",
}
"""NVML's codes that are about the GPU, whichever call answers so."""
_NO_PERMISSION = 4
_NO_HANDLE = {
    _NO_PERMISSION: "no permission to use it (its `/dev/nvidia` node, or a device cgroup)",
    10: "it does not answer the driver in time",
    19: "another client has it for itself",
    27: "it is not ready yet",
}
_RECOVERY = {
    1: "the driver asks for a reset of it (`nvidia-smi --gpu-reset -i {index}` as root)",
    2: "the driver asks for a reboot of this machine",
    6: "the driver asks for a reset of its bus",
    7: "the driver asks for a reboot of this machine",
}
_RECOVERY_CAN_WAIT = {
    3: "the driver asks for no new transfers between GPUs, then a reset",
    4: "the driver asks for a reset when its work is done",
    5: "the driver asks for a recovery of its IMEX domain",
}
_FABRIC_NOT_READY = {1: "has not started", 2: "is still being set up"}
_FABRIC_COMPLETED = 3
"""NVML_GPU_FABRIC_STATE_COMPLETED: only in this state do status and health say anything (nvml.h, nvmlGpuFabricInfoV_t)."""
_PROHIBITED, _EXCLUSIVE_PROCESS = 2, 3
_GAMING_BRANDS = ("GeForce", "Titan")
_FABRIC_UNHEALTHY, _FABRIC_LIMITED = 2, 3


def judge(facts: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The trouble of a GPU, or None, and its warnings. *facts*: `device_reading.read_device`; what is missing counts as well."""
    troubles, warnings = list(_troubles(facts)), tuple(_warnings(facts))
    return (troubles[0].format(index=facts.get("index")) if troubles else None), warnings


def is_counted(facts: Mapping[str, Any]) -> bool | None:
    """Whether CUDA counts a GPU: it does with all whose nodes it can open, but those in MIG mode without a slice. None for one
    that may not come up for CUDA either."""
    codes = facts.get("codes")
    if codes is None or any(code in codes for code in _FAILED_CALLS) or facts.get("recovery") in _RECOVERY:
        return None
    if not facts.get("has_handle", True):
        return False if _NO_PERMISSION in codes else None
    return not facts.get("mig_enabled") or bool(facts.get("mig"))


def _troubles(facts: Mapping[str, Any]) -> Iterable[str]:
    codes = facts.get("codes", ())
    yield from (words for code, words in _FAILED_CALLS.items() if code in codes)
    if not facts.get("has_handle", True):
        code = next(iter(codes), -1)
        yield _NO_HANDLE.get(code, f"NVML gives no access to it: {facts.get('reason', 'no reason told')}")
    if facts.get("recovery") in _RECOVERY:
        yield _RECOVERY[facts["recovery"]]
    _, _, _, failure = facts.get("remapped") or (0, 0, 0, 0)
    if failure:
        yield "a bad row of its memory could not be replaced by another (it has to be exchanged)"
    yield from _fabric_trouble(facts.get("fabric"))
    if facts.get("mig_enabled") and not facts.get("mig"):
        yield "it is in MIG mode and has no slices: nothing can run on it (`nvidia-smi mig -i {index} -cgi …` makes some)"
    if facts.get("compute_mode") == _PROHIBITED:
        yield "its compute mode is Prohibited (`nvidia-smi -i {index} -c DEFAULT` as root)"


def _fabric_trouble(fabric: Mapping[str, Any] | None) -> Iterable[str]:
    if not fabric:
        return
    if fabric["state"] in _FABRIC_NOT_READY:
        words = _FABRIC_NOT_READY[fabric["state"]]
        yield f"its NVLink fabric {words}: CUDA would fail with error 802 (`systemctl status nvidia-fabricmanager`)"


def _fabric_warnings(fabric: Mapping[str, Any] | None) -> Iterable[str]:
    if not fabric or fabric["state"] != _FABRIC_COMPLETED:
        return
    if fabric["status"] != 0:
        yield f"its NVLink fabric was set up with error {fabric['status']} (`systemctl restart nvidia-fabricmanager`)"
    if fabric.get("summary") == _FABRIC_UNHEALTHY:
        yield "its NVLink fabric is unhealthy"
    elif fabric.get("summary") == _FABRIC_LIMITED or fabric.get("mask", 0) & 0b11 == 1:
        yield "its NVLink fabric has less than its full bandwidth"


def _warnings(facts: Mapping[str, Any]) -> Iterable[str]:
    yield from slowdowns(facts.get("clock_reasons"))
    yield from _memory_warnings(facts)
    if facts.get("recovery") in _RECOVERY_CAN_WAIT:
        yield _RECOVERY_CAN_WAIT[facts["recovery"]]
    yield from _fabric_warnings(facts.get("fabric"))
    if facts.get("compute_mode") == _EXCLUSIVE_PROCESS:
        yield "its compute mode lets one process use it at a time"
    if facts.get("mig_enabled") and not facts.get("mig_pending", True):
        yield "it leaves MIG mode with its next reset"
    width, widest = facts.get("pcie_width") or (None, None)
    if width and widest and width < widest:
        yield f"PCIe runs {width} lanes of {widest}"
    yield from facts.get("notes", ())


def _memory_warnings(facts: Mapping[str, Any]) -> Iterable[str]:
    on, on_next = facts.get("ecc") or (None, None)
    brand = facts.get("brand") or ""
    if on == 0 and not brand.startswith(_GAMING_BRANDS):
        yield "ECC is off: an error in its memory goes unnoticed"
    if on is not None and on != on_next:
        yield f"ECC will be {'on' if on_next else 'off'} after the next reboot"
    if facts.get("ecc_uncorrected"):
        yield f"{facts['ecc_uncorrected']} memory errors could not be corrected since the driver was loaded"
    _, _, pending, _ = facts.get("remapped") or (0, 0, 0, 0)
    if pending:
        yield "a bad row of its memory is replaced with the next reset"
    if facts.get("retired_pending"):
        yield "a bad page of its memory is retired with the next reboot"

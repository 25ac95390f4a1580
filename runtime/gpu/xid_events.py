"""Xid errors of GPUs as NVML tells them: at once, and only to who waits. Few may read the log where they stand, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.gpu.xids import XID_EVENT

_TIMEOUT = 10
_ANY_INSTANCE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a card was asked for: all of it, or the slice of one GPU instance."""

    uuid: str
    instance: int | None = None


class XidEvents:
    """Those of *uuids*, GPUs or MIG slices. A card that doesn't tell of Xids is left out. *nvml* is `nvml.opened`'s."""

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
        if not int(event.eventType) & XID_EVENT:
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
        if int(nvml.nvmlDeviceGetSupportedEventTypes(card)) & XID_EVENT:
            nvml.nvmlDeviceRegisterEvents(card, XID_EVENT, self._events)
            self._parts.setdefault(bytes(card), []).append(_Part(uuid, instance))

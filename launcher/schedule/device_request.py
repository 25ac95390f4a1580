"""What a run wants of this machine's GPUs, as everybody in the queue can read it."""

from __future__ import annotations

from typing import Any

from runtime.gpu.leases.lease import SLOTS
from runtime.gpu.leases.lock_files import UntrustedFields
from runtime.light_dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """*count* devices out of *offers*, or one of which *slots* are enough."""

    offers: tuple[str, ...]
    """UUIDs of all devices here that fulfil the run's wishes, free or not."""
    count: int = 1
    slots: int = SLOTS
    linked: bool = False
    """NVLink between them."""
    least_memory: bool = False
    """It said how much memory it needs: the smallest device that has it will do. Else the largest comes first."""

    @property
    def words(self) -> str:
        """`2 GPUs`, `0.5 GPU`."""
        if self.slots < SLOTS:
            return f"{self.slots / SLOTS:g} GPU"
        return "1 GPU" if self.count == 1 else f"{self.count} GPUs"


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run in the queue."""

    request: DeviceRequest
    run: str = ""
    user: str = ""
    pid: int = 0
    priority: int = 0
    number: int = 0
    """Of its arrival: the smaller came earlier."""
    since: float = 0.0
    lasts_s: float | None = None
    """How long it will hold its GPUs at most; None when nothing limits it."""

    @property
    def order(self) -> tuple[int, int, str]:
        return (-self.priority, self.number, self.run)


def to_document(entry: QueuedRun) -> dict[str, Any]:
    """As it stands in its place's file."""
    document = asdict(entry)
    return {"want": document.pop("request"), **document}


def from_document(document: UntrustedFields) -> QueuedRun | None:
    """A queued run as it wrote itself down; None for anything else: any user may write there."""
    request = _request(document.fields("want"))
    pid, priority, number = (document.whole(name) for name in ("pid", "priority", "number"))
    since, lasts_s = document.seconds("since"), document.seconds("lasts_s")
    if request is None or pid is None or priority is None or number is None or since is None:
        return None
    if lasts_s is None and document.raw("lasts_s") is not None:
        return None
    return QueuedRun(request, document.text("run") or "", document.text("user") or "", pid, priority, number, since, lasts_s)


def _request(document: UntrustedFields) -> DeviceRequest | None:
    offers, count, slots = document.raw("offers"), document.whole("count"), document.whole("slots")
    if not isinstance(offers, list) or not all(isinstance(uuid, str) for uuid in offers) or count is None or slots is None:
        return None
    if not (1 <= count <= len(offers) and 1 <= slots <= SLOTS):
        return None
    return DeviceRequest(tuple(offers), count, slots, bool(document.raw("linked")), bool(document.raw("least_memory")))

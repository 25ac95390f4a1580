"""What a run wants of this machine's GPUs, as everybody in the line can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.gpu.lease import SLOTS


@dataclass(frozen=True, slots=True)
class Want:
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
class Waiter:
    """A run in the line."""

    want: Want
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


_NUMBERS = {"pid": int, "priority": int, "number": int}
_WANT_NUMBERS = {"count": int, "slots": int}


def to_document(waiter: Waiter) -> dict[str, Any]:
    """As it stands in its place's file."""
    return asdict(waiter)


def from_document(document: dict[str, Any]) -> Waiter | None:
    """A waiter as it wrote itself down; None for anything else: any user may write there."""
    want = document.get("want")
    if not isinstance(want, dict) or not _all_of(document, _NUMBERS) or not _all_of(want, _WANT_NUMBERS):
        return None
    offers, lasts_s, since = want.get("offers"), document.get("lasts_s"), document.get("since")
    if not isinstance(offers, list) or not all(isinstance(uuid, str) for uuid in offers):
        return None
    if not isinstance(since, int | float) or not (lasts_s is None or isinstance(lasts_s, int | float)):
        return None
    if not (1 <= want["count"] <= len(offers) and 1 <= want["slots"] <= SLOTS):
        return None
    return Waiter(
        Want(tuple(offers), want["count"], want["slots"], bool(want.get("linked")), bool(want.get("least_memory"))),
        str(document.get("run", "")),
        str(document.get("user", "")),
        document["pid"],
        document["priority"],
        document["number"],
        float(since),
        None if lasts_s is None else float(lasts_s),
    )


def _all_of(document: dict[str, Any], kinds: Mapping[str, type]) -> bool:
    return all(isinstance(document.get(name), kind) and not isinstance(document[name], bool) for name, kind in kinds.items())

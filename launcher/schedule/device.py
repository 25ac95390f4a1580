"""What there is to give away: GPUs and MIG instances, with who has them. Values, made of what the driver and the locks say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.schedule.foreign_use import ForeignUse
from runtime.gpu.gpu import Gpu
from runtime.gpu.leases.lease import SLOTS, Holder, Occupancy
from runtime.light_dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or an instance of one in MIG mode, and how free it is."""

    uuid: str
    parent: str | None = None
    """UUID of a MIG instance's GPU."""
    vendor: str = "nvidia"
    model: str = ""
    memory_bytes: int = 0
    numa_node: int | None = None
    free_slots: int = SLOTS
    in_parts: bool = False
    holders: tuple[Holder, ...] = ()
    foreign: ForeignUse | None = None
    """Who uses it outside launch: it is left alone."""
    last_used: float = 0.0

    def is_free(self, slots: int = SLOTS) -> bool:
        """Whether *slots* of it can be leased now."""
        return self.foreign is None and (self.free_slots >= slots if slots < SLOTS else not self.holders and not self.in_parts)

    def after_lease(self, slots: int) -> Device:
        """As it is once *slots* more of it are leased."""
        left = self.free_slots - slots
        return replace(self, free_slots=left, in_parts=slots < SLOTS, holders=(*self.holders, Holder(slots=slots)))


def list_devices(gpus: Iterable[Gpu]) -> tuple[Device, ...]:
    """Every healthy GPU; of one in MIG mode its instances, since it can't be had as a whole then."""
    return tuple(device for gpu in gpus if gpu.trouble is None and gpu.uuid is not None for device in _devices(gpu, gpu.uuid))


def with_occupancy(
    devices: Iterable[Device], occupied: Mapping[str, Occupancy], foreign: Mapping[str, ForeignUse]
) -> dict[str, Device]:
    """*devices* by UUID, with how they are leased and who uses them outside launch."""
    return {device.uuid: _with_occupancy(device, occupied, foreign) for device in devices}


def _devices(gpu: Gpu, uuid: str) -> list[Device]:
    whole = Device(uuid, None, gpu.vendor, gpu.model or "", gpu.memory_bytes or 0, gpu.numa_node)
    if not gpu.mig_enabled:
        return [whole]
    return [replace(whole, uuid=one.uuid, parent=uuid, memory_bytes=one.memory_bytes or 0) for one in gpu.mig]


def _with_occupancy(device: Device, occupied: Mapping[str, Occupancy], foreign: Mapping[str, ForeignUse]) -> Device:
    own = occupied.get(device.uuid, Occupancy())
    gpu = occupied.get(device.parent, Occupancy()) if device.parent else Occupancy()
    # Somebody leased the whole GPU before it was sliced, and has not ended.
    holders = own.holders or (gpu.holders if not gpu.in_parts else ())
    return replace(
        device,
        free_slots=own.free_slots if not holders or own.holders else 0,
        in_parts=own.in_parts,
        holders=holders,
        foreign=foreign.get(device.uuid),
        last_used=own.last_used,
    )

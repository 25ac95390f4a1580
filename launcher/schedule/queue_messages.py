"""What a run in the queue is told: its place, what it waits for, who has it. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from launcher.schedule.device import Device
from launcher.schedule.device_request import DeviceRequest
from launcher.schedule.scheduling import QueueDecision
from runtime.gpu.leases.lease import SLOTS, Holder


def describe_wait(request: DeviceRequest, decision: QueueDecision, devices: Mapping[str, Device]) -> str:
    """`2 GPUs: 1 of 4 free; 3 held by run a1b2 of alice since 14:02`."""
    return "; ".join(
        [f"{request.words}: {len(decision.free)} of {len(request.offers)} free", *describe_holders(request, decision, devices)]
    )


def describe_holders(request: DeviceRequest, decision: QueueDecision, devices: Mapping[str, Device]) -> list[str]:
    """One sentence for each who has, or is kept, what *request* could use."""
    there = [devices[uuid] for uuid in request.offers if uuid in devices]
    return [
        *_holder_sentences(there),
        *_foreign_sentences(there),
        *_promised_sentences(request, decision),
        *_kept_sentences(decision),
        *_link_sentences(request, decision),
    ]


def _holder_sentences(devices: Sequence[Device]) -> list[str]:
    by_holder: dict[Holder, float] = {}
    for device in devices:
        for holder in device.holders:
            anyhow = Holder(holder.run, holder.user, holder.pid, holder.since, holder.until)
            by_holder[anyhow] = by_holder.get(anyhow, 0.0) + holder.slots / SLOTS
    return [f"{amount:g} held by {_holder(holder)}" for holder, amount in by_holder.items()]


def _holder(holder: Holder) -> str:
    who = f"run {holder.run}" if holder.run else "a run"
    of = f" of {holder.user}" if holder.user else ""
    since = f" since {_clock(holder.since)}" if holder.since is not None else ""
    until = f" until {_clock(holder.until)} at the latest" if holder.until is not None else ""
    return f"{who}{of}{since}{until}"


def _foreign_sentences(devices: Sequence[Device]) -> list[str]:
    short = len("GPU-12345678")
    return [f"{device.uuid[:short]} used by {device.foreign.words}" for device in devices if device.foreign is not None]


def _kept_sentences(decision: QueueDecision) -> list[str]:
    runs = list(decision.kept.values())
    return [f"{runs.count(run)} kept for {_run(run)}, which is ahead" for run in dict.fromkeys(runs)]


def _promised_sentences(request: DeviceRequest, decision: QueueDecision) -> list[str]:
    """One who stands here for long has been stopped (Ctrl-Z): the others may know whom to ask."""
    runs = [run for uuid, run in decision.promised.items() if uuid in request.offers]
    return [f"{runs.count(run)} about to be taken by {_run(run)}, which is ahead" for run in dict.fromkeys(runs)]


def _run(run: str) -> str:
    return f"run {run}" if run else "a run"


def _link_sentences(request: DeviceRequest, decision: QueueDecision) -> list[str]:
    enough = len(decision.free) - len(decision.kept) >= request.count
    return ["those that are free are not connected by NVLink"] if request.linked and decision.uuids is None and enough else []


def _clock(at: float) -> str:
    """A moment of today as `14:02`, any other with its date."""
    try:
        then = time.localtime(at)
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
    return time.strftime("%H:%M" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)

"""The GPUs of a run while it runs: readings become metrics, energy and notes; a lost GPU ends the run. In the supervisor.

It never asks NVML: a process of its own does (`runtime.gpu.watcher`), whose lines are read as they come. When it hangs, that
is noted; when it dies, another one is started.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.events import Note
from launcher.journal.run_journal import Journal
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.gpus.process_owner import owner_of
from launcher.run.supervisor.attempt import StopRequest
from launcher.tracking.metrics.samples import append_sample, gpu_metrics
from launcher.tracking.record.gpu_usage import load_meters, store_meters
from runtime.gpu import watcher
from runtime.gpu.energy import EnergyMeter
from runtime.gpu.gpu import GpuLoad
from runtime.gpu.gpu_warnings import GpuWarnings, gpu_names
from runtime.gpu.nvidia.xid import meaning, sentence
from runtime.gpu.roots import Roots
from runtime.kernel.process_table import parent_of
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir

_USUAL_INTERVAL_S = 10.0
_SHORTEST_INTERVAL_S = 0.2
_LAST_READING_S = 2.0
_DEATH_S = 2.0
_MOST_RESTARTS = 3
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Its inode (PROC_PID_INIT_INO): only there the pids that NVML tells are ours."""


@dataclass(slots=True)
class GpuWatch:
    """Of one attempt."""

    run_dir: RunDir
    journal: Journal
    uuids: tuple[str, ...]
    interval_s: float
    sampling: bool
    """Whether readings are kept as metrics."""
    shared: bool
    """A part of a GPU: others on it are expected."""
    stop_when_idle_s: float | None
    meters: dict[str, EnergyMeter]
    nodes: int = 1
    """How many the run has."""
    silence_s: float = 60.0
    """How long NVML may say nothing before that is told, at the least."""
    fd: int = -1
    """Readable when there is something to take in; -1 when nobody watches."""
    spoiled: str | None = None
    """What the hardware did to this attempt: its failure is not the program's."""
    init_pid: int | None = None
    is_away: bool = False
    """The GPUs were given back: what is read of them is others'."""
    _pid: int = -1
    _end: int = -1
    _rest: bytes = b""
    _before: tuple[float, tuple[GpuLoad, ...]] | None = None
    _warnings: GpuWarnings = field(default_factory=GpuWarnings)
    _heard_at: float = 0.0
    _restarts: int = 0
    _told: set[str] = field(default_factory=set)

    def start(self) -> None:
        self._pid, self.fd, self._end = watcher.start(self.uuids, interval_s=self.interval_s)
        self._heard_at = time.monotonic()

    def take_in(self) -> StopRequest | None:
        """What the watcher has said. When it has died, `fd` is that of its successor afterwards, or -1."""
        request = None
        for document in self._documents():
            if self.is_away:
                self._forget_readings()
            else:
                request = request or self._handle(document)
        return request

    def next_look_s(self) -> float:
        """Seconds until `look` has to be called, whatever the watcher says."""
        return max(0.0, self._heard_at + self._patience_s - time.monotonic())

    def look(self) -> None:
        """Tell it when the watcher has been silent for long: it hangs in a call, or the machine does."""
        if self.fd >= 0 and self.next_look_s() <= 0:
            self._tell_once(f"NVML has not answered for {self._patience_s:.0f} s: a GPU may hang; the kernel's log tells more")
            self._heard_at = time.monotonic()

    def finish(self) -> None:
        """Take in a last reading, as far as it comes soon, and end the watcher."""
        if self.fd < 0:
            return
        self._restarts = _MOST_RESTARTS
        os.close(self._end)
        self._end = -1
        deadline = time.monotonic() + _LAST_READING_S
        while self.fd >= 0 and (left := deadline - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                self.take_in()
        if self.fd >= 0:
            self._release()

    def _documents(self) -> Iterator[dict[str, Any]]:
        while True:
            try:
                chunk = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return
            if not chunk:
                self._start_again()
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def _start_again(self) -> None:
        """It has ended: by itself when NVML doesn't come up, or killed."""
        self._release()
        if self._end >= 0:
            os.close(self._end)
        if self._restarts < _MOST_RESTARTS:
            self._restarts += 1
            self.start()

    def _release(self) -> None:
        os.close(self.fd)
        self.fd, self._rest = -1, b""
        os.kill(self._pid, signal.SIGKILL)
        deadline = time.monotonic() + _DEATH_S
        # One that hangs in the kernel ends when its call does, and is reaped by whoever reaps this process's children then.
        while not os.waitpid(self._pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.001)

    def _forget_readings(self) -> None:
        self._heard_at, self._before, self._warnings = time.monotonic(), None, GpuWarnings()
        for meter in self.meters.values():
            meter.begin_anew()

    def _handle(self, document: dict[str, Any]) -> StopRequest | None:
        self._heard_at = time.monotonic()
        if "loads" in document:
            return self._handle_loads(document["at"], tuple(map(GpuLoad.from_json, document["loads"])))
        if "xid" in document:
            return self._handle_xid(document["uuid"], document["xid"])
        if "denied" in document:
            self._tell_once(
                f"`{document['denied']}` can't be opened any more (EPERM): a device cgroup forbids it, as after `systemctl "
                "daemon-reload` in a container that others made; start that container again"
            )
        if "error" in document:
            self._restarts = _MOST_RESTARTS
            self._tell_once(f"the GPUs are not watched: {document['error']}")
        return None

    def _handle_loads(self, at: float, loads: tuple[GpuLoad, ...]) -> StopRequest | None:
        self.uuids = tuple(load.uuid for load in loads)
        for load in loads:
            meter = self.meters.setdefault(load.uuid, EnergyMeter())
            meter.feed(at, counter_j=load.energy_j, power_w=load.power_w)
        self._keep(at, loads)
        self._before = at, loads
        for words in self._warnings.about(loads, at_s=at, owner=self._owner):
            self._tell_once(words)
        for load, name in zip(loads, self._names(), strict=True):
            if load.lost:
                return self._lost(f"{name} is lost: NVML can't talk to it any more")
        return self._idle(at)

    def _keep(self, at: float, loads: tuple[GpuLoad, ...]) -> None:
        energy = [self.meters[load.uuid].joules if self.meters[load.uuid].known else None for load in loads]
        then, before = self._before or (at, ())
        values = gpu_metrics(loads, before, seconds=at - then, energy_j=energy)
        try:
            store_meters(self.run_dir, self.meters)
            if self.sampling and values:
                append_sample(self.run_dir, at, values, nodes=self.nodes)
        except OSError:
            return  # a full disk: the next reading may find room

    def _handle_xid(self, uuid: str, xid: int) -> StopRequest | None:
        name = dict(zip(self.uuids, self._names(), strict=True)).get(uuid, "a GPU")
        words = sentence(xid, f"{name} ({uuid})")
        known = meaning(xid)
        # One that comes once may come a thousand times.
        self._note_once(Note(words, facts={"xid": str(xid)}, xid=xid, gpu=uuid))
        if known.spoils:
            self.spoiled = self.spoiled or f"Xid {xid} on {name}: {known.words}"
        return self._lost(f"Xid {xid} on {name}: {known.words}") if known.lost else None

    def _lost(self, detail: str) -> StopRequest:
        self.spoiled = self.spoiled or detail
        return StopRequest(Reason.GPU_LOST, detail)

    def _idle(self, at: float) -> StopRequest | None:
        if self.stop_when_idle_s is None or self._warnings.idle_s(at) < self.stop_when_idle_s:
            return None
        if self.journal.read().is_paused:
            self._warnings.skip_pause(at)
            return None
        whose = "its GPU was" if len(self.uuids) == 1 else f"its {len(self.uuids)} GPUs were"
        return StopRequest(Reason.STOPPED, f"{whose} idle for {self.stop_when_idle_s:g} s (`gpu.stop_when_idle`)")

    def _owner(self, pid: int) -> str | None:
        if self.shared or self.init_pid is None or not _sees_all_pids() or _descends_from(pid, self.init_pid):
            return None
        return _process_words(pid)

    def _names(self) -> tuple[str, ...]:
        return gpu_names(len(self.uuids))

    def _tell_once(self, words: str) -> None:
        self._note_once(Note(words))

    def _note_once(self, note: Note) -> None:
        words = str(note.text)
        if words not in self._told:
            self._told.add(words)
            with suppress(LaunchError, OSError):  # a full disk: no note is worth the run
                self.journal.append(note)

    @property
    def _patience_s(self) -> float:
        return max(self.silence_s, 3 * self.interval_s)


@contextmanager
def watch_gpus(
    run_dir: RunDir, journal: Journal, plan: LaunchPlan, uuids: Sequence[str], *, begun: bool = False
) -> Iterator[GpuWatch]:
    """Watch *uuids* for the body. *begun*: another supervisor watched this attempt before."""
    watch = new_watch(run_dir, journal, plan, uuids, begun=begun)
    try:
        watch.start()
    except OSError as error:
        raise LaunchError(f"cannot start the process that watches the GPUs: {error.strerror}") from error
    try:
        yield watch
    finally:
        watch.finish()


def new_watch(run_dir: RunDir, journal: Journal, plan: LaunchPlan, uuids: Sequence[str], *, begun: bool) -> GpuWatch:
    """A watch that has not started, with what earlier attempts measured."""
    tracking, stop_s = plan.spec.tracking, plan.spec.gpu.stop_when_idle
    sampled_s = tracking.system_metrics if tracking is not None else None
    meters = load_meters(run_dir)
    if not begun:
        for meter in meters.values():
            meter.begin_anew()
    return GpuWatch(
        run_dir,
        journal,
        tuple(uuids),
        interval_s=max(_SHORTEST_INTERVAL_S, min(sampled_s or _USUAL_INTERVAL_S, float("inf") if stop_s is None else stop_s / 3)),
        sampling=sampled_s is not None,
        shared=plan.gpus < 1,
        stop_when_idle_s=stop_s,
        meters=meters,
        nodes=plan.spec.nodes,
    )


def gpus_with_hardware_errors(state: RunState) -> frozenset[str]:
    """What earlier attempts of a run were told of their GPUs' hardware: another attempt had better take others."""
    return frozenset(uuid for uuid, xid in state.struck if meaning(xid).spoils)


def _sees_all_pids() -> bool:
    return os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PID_NAMESPACE


def _descends_from(pid: int, ancestor: int) -> bool:
    """In a PID namespace every orphan becomes a child of its init, so that all of a container descends from that."""
    parent: int | None = pid
    while parent is not None and parent > 1:
        if parent == ancestor:
            return True
        parent = parent_of(parent)
    return False


def _process_words(pid: int) -> str | None:
    """`process 4411 (python3) of bob`; None for one that is not there (any more), or that serves others on the GPU."""
    who = owner_of(pid, {}, Roots.of_this_machine())
    if who is None or who.name.startswith("nvidia-cuda-mps"):
        return None
    return f"process {pid} ({who.name}) of {who.user}" + (f", run {who.run}" if who.run else "")

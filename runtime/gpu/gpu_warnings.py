"""What readings of a run's GPUs give reason to tell: idle, slowed down, nearly full, used by somebody else. Pure; each once.

None of it ends a run: whoever reads it may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.gpu.gpu import GpuLoad, slowdowns
from runtime.light_dataclasses import dataclass, field

IDLE_AFTER_S = 600.0
"""How long a GPU does nothing before that is told: longer than most programs need to load data and compile kernels."""
_NEARLY_FULL = 0.97

Owner = Callable[[int], str | None]
"""pid → in words whose process it is, when it is not the run's own; None for the run's own and for one that nobody can tell."""


@dataclass(slots=True)
class GpuWarnings:
    """Remembers what was told, and since when a GPU has been idle."""

    idle_after_s: float = IDLE_AFTER_S
    _active_at: dict[str, float] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def about(self, loads: Sequence[GpuLoad], *, at_s: float, owner: Owner) -> list[str]:
        """Sentences about what is new in *loads*, read at *at_s*."""
        sentences = self._idle(loads, at_s)
        for load, name in zip(loads, gpu_names(len(loads)), strict=True):
            sentences += self._slowdowns(load, name) + self._nearly_full(load, name) + self._foreign(load, name, owner)
        return sentences

    def idle_s(self, at_s: float) -> float:
        """For how long no GPU of the run has done anything."""
        return at_s - max(self._active_at.values(), default=at_s)

    def skip_pause(self, at_s: float) -> None:
        """The run was paused until *at_s*: that it did nothing says nothing."""
        self._active_at = dict.fromkeys(self._active_at, at_s)

    def _idle(self, loads: Sequence[GpuLoad], at_s: float) -> list[str]:
        for load in loads:
            if load.uuid not in self._active_at or is_busy(load):
                self._active_at[load.uuid] = at_s
                self._told.discard((load.uuid, "idle"))
        idle = [load.uuid for load in loads if at_s - self._active_at[load.uuid] >= self.idle_after_s]
        new = [uuid for uuid in idle if self._once(uuid, "idle")]
        if not new:
            return []
        minutes = f"{self.idle_after_s / 60:.0f} min"
        if len(idle) == len(loads):
            return [f"{_whole(len(loads))} nothing for {minutes}; `gpu.stop_when_idle=30m` would end such a run"]
        known = dict(zip((load.uuid for load in loads), gpu_names(len(loads)), strict=True))
        listed = ", ".join(known[uuid] for uuid in new)
        return [f"{listed} of {len(loads)} has done nothing for {minutes}: does the program use all its GPUs?"]

    def _slowdowns(self, load: GpuLoad, name: str) -> list[str]:
        hot = "" if load.temperature_c is None else f" ({load.temperature_c:.0f} °C)"
        return [f"{name} is slowed down: {why}{hot}" for why in slowdowns(load.clock_reasons) if self._once(load.uuid, why)]

    def _nearly_full(self, load: GpuLoad, name: str) -> list[str]:
        if load.used_bytes is None or not load.memory_bytes or load.used_bytes < _NEARLY_FULL * load.memory_bytes:
            return []
        share = 100 * load.used_bytes / load.memory_bytes
        words = f"memory of {name} is {share:.0f} % full: a larger batch may not fit"
        return [words] if self._once(load.uuid, "full") else []

    def _foreign(self, load: GpuLoad, name: str, owner: Owner) -> list[str]:
        strangers = [(pid, words) for pid in load.pids or () if (words := owner(pid)) is not None]
        return [
            f"{name} is used from outside the run, too: {words}; results and times may be disturbed"
            for pid, words in strangers
            if self._once(load.uuid, f"pid {pid}")
        ]

    def _once(self, uuid: str, what: str) -> bool:
        known = (uuid, what) in self._told
        self._told.add((uuid, what))
        return not known


def is_busy(load: GpuLoad) -> bool:
    """Whether it does something. A slice doesn't tell how much: there a process is taken for work, and so is silence."""
    if load.busy_percent is not None:
        return load.busy_percent > 0
    return load.pids is None or bool(load.pids)


def gpu_names(count: int) -> tuple[str, ...]:
    """What a run's GPUs are called in sentences: by their place among the leased ones, as the program counts them."""
    return ("its GPU",) if count == 1 else tuple(f"GPU {index}" for index in range(count))


def _whole(count: int) -> str:
    return "its GPU has done" if count == 1 else f"its {count} GPUs have done"

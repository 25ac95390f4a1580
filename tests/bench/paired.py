"""Paired measurements: the cases take turns (A B A B …), so that a busy minute of the machine hits all of them.

A `Group` is cases that take turns, and the lines of the table that they make; a line sets one of ours beside one of a peer's. Its
ratio is the median of the ratios round by round. CPU seconds are those of the whole machine until it is idle again, so that a
daemon's, a server's and the kernel's own count, as do those of what goes on after the figure. Not run by pytest: there is no
`test_` here.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

HEADINGS = "| what | launch | CPU | peer | | CPU | ratio | goal |"

_WINDOW_S = 0.05
_LONGEST_WINDOW_S = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Case:
    """One thing to measure. *once* does it and returns the figure that counts, in *unit*; what *prepare* does first counts for
    nothing, its processor time neither."""

    def __init__(
        self, name: str, once: Callable[[], float], unit: str = "s", prepare: Callable[[], object] | None = None
    ) -> None:
        self.name = name
        self.once = once
        self.unit = unit
        self.prepare = prepare
        self.figures: list[float] = []
        self.cpu_s: list[float] = []

    def shown(self) -> str:
        """The median, and between which figures it lies."""
        median, least, most = statistics.median(self.figures), min(self.figures), max(self.figures)
        unit, factor = ("ms", 1000) if self.unit == "s" and median < 1 else (self.unit, 1)
        digits = 0 if median * factor >= 100 else 1 if median * factor >= 10 else 2
        extremes = f" ({least * factor:.{digits}f}–{most * factor:.{digits}f})" if len(self.figures) > 1 else ""
        return f"{median * factor:.{digits}f} {unit}{extremes}"

    def shown_cpu(self) -> str:
        return f"{statistics.mean(self.cpu_s):.2f} s" if self.unit == "s" else ""


class Line(NamedTuple):
    """A line of the table. *peer* is whom it stands beside, or why nobody is there; *goal* is for the ratio, at most, or for our
    figure when there is no peer."""

    what: str
    ours: Case
    peer: Case | str | None = None
    goal: float | None = None

    def row(self) -> str:
        figure, peer = statistics.median(self.ours.figures), ("", "", "")
        ratio = ""
        if isinstance(self.peer, Case):
            figure = statistics.median(a / b for a, b in zip(self.ours.figures, self.peer.figures, strict=True))
            peer, ratio = (self.peer.name, self.peer.shown(), self.peer.shown_cpu()), f"{figure:.2f}"
        elif self.peer is not None:
            peer, figure = (self.peer, "", ""), float("nan")
        goal = "" if self.goal is None else f"≤ {self.goal:g}{'' if self.peer else f' {self.ours.unit}'}"
        verdict = "" if self.goal is None or figure != figure else ", met" if figure <= self.goal else ", **not met**"
        return f"| {' | '.join((self.what, self.ours.shown(), self.ours.shown_cpu(), *peer, ratio, goal + verdict))} |"


class Group(NamedTuple):
    """Cases that take turns. *lines* prepares them, and clears away behind them."""

    name: str
    lines: Callable[..., AbstractContextManager[Sequence[Line]]]
    rounds: int = 15
    """At most: what takes minutes is not done fifteen times."""
    warmups: int = 1
    only_named: bool = False
    """Not a part of the whole table."""


def timed(work: Callable[[], object]) -> float:
    """Seconds that *work* takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(lines: Iterable[Line], *, rounds: int, warmups: int) -> None:
    """Run the cases of *lines* in turn, *warmups* rounds unrecorded."""
    cases = list(dict.fromkeys(case for line in lines for case in (line.ours, line.peer) if isinstance(case, Case)))
    for number in range(-warmups, rounds):
        before = busy_s_when_idle()
        for case in cases:
            if case.prepare is not None:
                case.prepare()
                before = busy_s_when_idle()
            figure = case.once()
            after = busy_s_when_idle()
            if number >= 0:
                case.figures.append(figure)
                case.cpu_s.append(after - before)
            print(f"  round {number + 1}  {case.name}  {figure:.4f} {case.unit}  CPU {after - before:.2f} s", file=sys.stderr)
            before = after


def busy_s_when_idle() -> float:
    """Wait for a moment in which nothing runs. Returns the seconds that the processors have worked since the machine started."""
    deadline = time.monotonic() + _LONGEST_WINDOW_S
    before = _busy_s()
    while time.monotonic() < deadline:
        time.sleep(_WINDOW_S)
        now = _busy_s()
        if now - before < 2 / _TICKS:
            return now
        before = now
    return before


def _busy_s() -> float:
    """proc(5), /proc/stat: user, nice, system, (idle, iowait,) irq, softirq."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def print_rows(lines: Iterable[Line], *, with_headings: bool = False) -> None:
    headings = [HEADINGS, f"|{' --- |' * (HEADINGS.count('|') - 1)}"] if with_headings else []
    print("\n".join([*headings, *(line.row() for line in lines)]), flush=True)


def machine() -> str:
    """The machine in one line, and how busy it is: above a load of half its cores the figures are worth little."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    busy = ", BUSY" if load > cores / 2 else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, "
        f"load {load:.1f}{busy}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def run(*argv: str, **more: object) -> str:
    """What a command that has to succeed says on stdout; *more* is for `subprocess.run`."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return str(done.stdout)


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Options of every script."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("--rounds", type=int, default=rounds, help=f"recorded rounds ({rounds})")
    return options

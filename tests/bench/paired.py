"""Paired measurements: the cases take turns (A B A B …), so that a busy minute of the machine hits all of them.

A script makes `Case`s and calls `measure`; what it prints is Markdown, for docs/benchmarks.md. A figure without its machine means
nothing, so machine, load and the number of rounds stand above the table. Not run by pytest: there is no `test_` here.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@dataclass(slots=True)
class Case:
    """One thing to measure. *once* does it and returns the seconds that count (what it prepares doesn't)."""

    name: str
    once: Callable[[], float]
    seconds: list[float] = field(default_factory=list)


def timed(work: Callable[[], object]) -> float:
    """Seconds that *work* takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(title: str, cases: Sequence[Case], *, rounds: int, warmups: int = 1) -> None:
    """Run the cases in turn, *warmups* rounds unrecorded, and print the table. Ratios are of the first case, round by round."""
    for number in range(-warmups, rounds):
        for case in cases:
            seconds = case.once()
            if number >= 0:
                case.seconds.append(seconds)
            print(f"  round {number + 1}  {case.name}  {seconds:.4f} s", file=sys.stderr)
    print(f"### {title}\n\n{machine()}; {rounds} rounds\n")
    print("| case | median | least | most | ratio to the first |\n| --- | --- | --- | --- | --- |")
    for case in cases:
        print(_row(case, cases[0]))
    print(flush=True)


def _row(case: Case, first: Case) -> str:
    ratio = statistics.median(own / other for own, other in zip(case.seconds, first.seconds, strict=True))
    numbers = [f"{value:.4f} s" for value in (statistics.median(case.seconds), min(case.seconds), max(case.seconds))]
    return f"| {case.name} | {' | '.join(numbers)} | {ratio:.2f} |"


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


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Options of every script."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("--rounds", type=int, default=rounds, help=f"recorded rounds ({rounds})")
    return options

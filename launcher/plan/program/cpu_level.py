"""What the processor can, and `deterministic`'s level of it: the newest of its instructions that numerical libraries may use.

Libraries choose their kernels by the processor that they find: with AVX-512 a program gives other last bits than without. Held
to one level they run the same kernels on all CPUs that have it. Levels: x86-64 psABI, "Micro-architecture levels". Which bits a
kernel gives on two models of one level is not promised by anyone.
"""

from __future__ import annotations

import os
from pathlib import Path

from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass

LEVEL = "x86-64-v3"
"""Haswell (2013) and Zen (2017), and what came after: AVX2 without AVX-512."""

_LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
    "x86-64-v4": {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
}

_FIRST_PROCESSOR = 1 << 14
"""More than what the kernel says of one processor. The file is made as it is read: of 256 processors that takes its time."""

DETERMINISTIC_ENV = {
    # cuBLAS takes its workspace from streams otherwise (CUDA documentation, "Results Reproducibility"); torch refuses without it.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_DYNAMIC": "FALSE",
}

_LEVEL_ENV = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2,STRICT",
    # The names of before numpy 2.4 and of since; a version ignores those that it doesn't know.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_KNL",
}


@dataclass(frozen=True, slots=True)
class Cpu:
    """A machine's processor; empty where the kernel doesn't say."""

    model: str = ""
    flags: frozenset[str] = frozenset()

    @property
    def level(self) -> str | None:
        """`x86-64-v3`; None on another architecture, or below version 2."""
        reached = None
        for level, needed in _LEVELS.items():
            if not needed <= self.flags:
                break
            reached = level
        return reached


def read_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """The first processor: mixed ones differ in speed, not in what they can."""
    try:
        with cpuinfo.open("rb", buffering=0) as file:
            text = file.read(_FIRST_PROCESSOR).decode(errors="replace")
    except OSError:
        return Cpu()
    lines = [line.partition(":") for line in text.partition("\n\n")[0].splitlines()]
    known = {name.strip(): value.strip() for name, _, value in lines}
    return Cpu(known.get("model name", ""), frozenset((known.get("flags") or known.get("Features") or "").split()))


def deterministic_env(machine: str | None = None) -> dict[str, str]:
    """What makes libraries choose the same way each time, on this architecture."""
    return DETERMINISTIC_ENV | (_LEVEL_ENV if (machine or os.uname().machine) == "x86_64" else {})


def refuse_lesser_cpu(cpu: Cpu, *, machine: str, origin: Origin | None) -> None:
    """Raises ConfigError where `deterministic` cannot hold: results of this CPU would be its own."""
    if machine != "x86_64" or cpu.level in ("x86-64-v3", "x86-64-v4"):
        return
    lacking = ", ".join(sorted((_LEVELS["x86-64-v2"] | _LEVELS["x86-64-v3"]) - cpu.flags))
    raise ConfigError(
        f"`deterministic: true` holds libraries to {LEVEL}, and this CPU ({cpu.model or 'unknown'}) lacks {lacking}",
        origin=origin,
        hint="run it on another machine, or with `deterministic=false`",
    )

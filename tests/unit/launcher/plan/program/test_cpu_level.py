"""Which level of instructions a CPU has, and what `deterministic` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.plan.program.cpu_level import Cpu, deterministic_env, read_cpu, refuse_lesser_cpu

V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = f"{V3} avx512bw avx512cd avx512dq avx512f avx512vl"


@pytest.mark.parametrize(
    ("flags", "level"), [("fpu", None), (V2, "x86-64-v2"), (V3, "x86-64-v3"), (V4, "x86-64-v4"), ("avx512f avx2", None)]
)
def test_a_level_needs_all_flags_of_it_and_of_those_below(flags: str, level: str | None) -> None:
    assert level == Cpu(flags=frozenset(flags.split())).level


def test_the_first_processor_is_read(tmp_path: Path) -> None:
    one = "processor\t: {}\nmodel name\t: A CPU\nflags\t\t: " + V3 + "\n\n"
    (tmp_path / "cpuinfo").write_text(one.format(0) + one.format(1).replace("A CPU", "Another"))
    cpu = read_cpu(tmp_path / "cpuinfo")
    assert ("A CPU", "x86-64-v3") == (cpu.model, cpu.level)
    assert Cpu() == read_cpu(tmp_path / "none")


def test_a_cpu_below_the_level_is_refused_with_what_it_lacks() -> None:
    old = Cpu("Xeon E5-2670", frozenset(V3.replace("avx2", "").split()))
    with pytest.raises(ConfigError, match=r"`deterministic: true` .* \(Xeon E5-2670\) lacks avx2"):
        refuse_lesser_cpu(old, machine="x86_64", origin=None)
    refuse_lesser_cpu(old, machine="aarch64", origin=None)
    refuse_lesser_cpu(Cpu(flags=frozenset(V4.split())), machine="x86_64", origin=None)


def test_the_level_is_for_x86_and_the_rest_for_all() -> None:
    assert {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_DYNAMIC": "FALSE"} == deterministic_env("aarch64")
    assert "Haswell" == deterministic_env("x86_64")["OPENBLAS_CORETYPE"]

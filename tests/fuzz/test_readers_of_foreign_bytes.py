"""Whatever stands in bytes from outside, their reader takes it or refuses it in its own words; and soon.

Hypothesis damages inputs that the reader takes, the same ones in each run of the suite; `long_run.py` looks on for hours. What
either has found is in `found`, and tried first.
"""

from __future__ import annotations

import random

import pytest
from harness import Harness
from harnesses import HARNESSES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_READERS = [pytest.param(harness, id=name) for name, harness in HARNESSES.items()]
_FOUND = [
    pytest.param(harness, path, id=f"{harness.name}: {path.name}") for harness in HARNESSES.values() for path in harness.found()
]


@pytest.mark.parametrize("harness", _READERS)
def test_a_reader_takes_what_is_right(harness: Harness) -> None:
    for seed in harness.seeds:
        harness.read(seed)


@pytest.mark.parametrize(("harness", "path"), _FOUND)
def test_what_was_found_once_is_taken_or_refused(harness: Harness, path) -> None:
    harness.check(path.read_bytes())


@pytest.mark.parametrize("harness", _READERS)
def test_a_reader_takes_or_refuses_what_is_damaged(harness: Harness) -> None:
    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(seed=st.sampled_from(harness.seeds), chance=st.integers(0, 2**64))
    def try_out(seed: bytes, chance: int) -> None:
        harness.check(harness.damaged(seed, random.Random(chance)))

    try_out()

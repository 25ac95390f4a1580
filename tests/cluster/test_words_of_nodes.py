"""Slurm itself hands on what nodes say to the first one (`launcher.cluster.nodes.words`): long words of several at once."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import launcher
from launcher.cluster.nodes.words import Ear

pytestmark = pytest.mark.requires("root", "slurm")

TIMES = 30
SPEAKER = f"""\
import os, sys, time
sys.path.insert(0, {str(Path(launcher.__file__).parents[1])!r})
from launcher.cluster.nodes.words import lines
node = 1 + int(os.environ["SLURM_PROCID"])
for number in range({TIMES}):
    time.sleep(max(0.0, float(sys.argv[1]) + number * 0.02 - time.time()))  # all of them at once
    os.write(1, lines(node, "sample", sample={{"number": number, "long": str(node) * 2500}}))
"""


def test_long_words_of_three_nodes_at_once_come_whole_and_in_order(slurm):
    begin = str(time.time() + 1.0)
    printed = slurm.ask("srun", "--nodes=3", "--ntasks=3", "--mpi=none", sys.executable, "-c", SPEAKER, begin)
    ear = Ear()
    heard = [ear.hear(line.encode()) for line in printed.splitlines()]
    assert None not in heard
    said = [each for each in heard if each]
    assert {1: TIMES, 2: TIMES, 3: TIMES} == Counter(each["node"] for each in said)
    for node in (1, 2, 3):
        samples = [each["sample"] for each in said if each["node"] == node]
        assert [{"number": number, "long": str(node) * 2500} for number in range(TIMES)] == samples

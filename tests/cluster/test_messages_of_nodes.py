"""Slurm itself hands on what nodes send to the first one (`launcher.cluster.nodes.messages`): long messages, several at once."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import launcher
from launcher.cluster.nodes.messages import MessageReader

pytestmark = pytest.mark.requires("root", "slurm")

TIMES = 30
SENDER = f"""\
import os, sys, time
sys.path.insert(0, {str(Path(launcher.__file__).parents[1])!r})
from launcher.cluster.nodes.messages import Kind, encode
node = 1 + int(os.environ["SLURM_PROCID"])
for number in range({TIMES}):
    time.sleep(max(0.0, float(sys.argv[1]) + number * 0.02 - time.time()))  # all of them at once
    os.write(1, encode(node, Kind.SAMPLE, sample={{"number": number, "long": str(node) * 2500}}))
"""


def test_long_messages_of_three_nodes_at_once_come_whole_and_in_order(slurm):
    begin = str(time.time() + 1.0)
    printed = slurm.ask("srun", "--nodes=3", "--ntasks=3", "--mpi=none", sys.executable, "-c", SENDER, begin)
    reader = MessageReader()
    read = [reader.feed(line.encode()) for line in printed.splitlines()]
    assert None not in read
    messages = [message for message in read if message]
    assert {1: TIMES, 2: TIMES, 3: TIMES} == Counter(each["node"] for each in messages)
    for node in (1, 2, 3):
        samples = [each["sample"] for each in messages if each["node"] == node]
        assert [{"number": number, "long": str(node) * 2500} for number in range(TIMES)] == samples

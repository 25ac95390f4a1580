"""Metrics of programs that know neither MLflow nor us: what they print, and TensorBoard's files in the working directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

# tensorboard 2.21.0, as TensorFlow 2 writes: `acc` is 0.25 at step 3 and 0.5 at step 1000 (see unit/launcher/tracking).
EVENTS = (
    "eNrzYICAf5M85nK+fBy+c8LBW45SvElFiZl5eq5lqXklVkZBelw6Jal5xflFSfmJRSl6xaW5uYlFlXrlRZklqUV6qSBV8WmZOanx"
    "EJFUZ9nf+lBzc2NlAzgj3kHMFWDWUuJS4GJOTE524uJgFGLQYmFgaLDz4uXi5GIvTk7MSSwqVmCcJ1XrZQDVPvXrhXjOoC9Q7S/Y"
    "sehnsEfTnzxXNRsAa2o/1A=="
)

PROGRAM = f"""\
import base64, os, sys, zlib
content = zlib.decompress(base64.b64decode({EVENTS!r}))
for directory in ("runs/now", os.path.join(os.environ["LAUNCH_OUTPUTS"], "again")):
    os.makedirs(directory)
    with open(directory + "/events.out.tfevents.1.host.1.0", "wb") as file:
        file.write(content)
for step in range(3):
    print(f"\\r{{step}}: loss={{1 / (step + 1)}}", end="", file=sys.stderr)
print("at 7: score=nan")
"""

EXPERIMENT = """\
# @package _global_
description: reports in its own way
image: {requirements: []}
code: {root: experiments/probe}
command: [python3, own_way.py]
metrics: {tensorboard: true, patterns: {loss: 'loss=([0-9.]+)', score: 'at (?P<step>\\d+): score=(?P<value>\\S+)'}}
cpus: 0.5
memory: 256MiB
tracking: null
"""


def test_what_a_program_prints_and_draws_is_its_metrics(launch: Launch, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(launch.project, project)
    (project / "conf/experiment/own_way.yaml").write_text(EXPERIMENT)
    (project / "experiments/probe/own_way.py").write_text(PROGRAM)
    own = Launch(launch.home, project)
    own("experiment=own_way", timeout_s=600)
    entries = map(json.loads, Path(own.record()["run_dir"], "logged.jsonl").read_text().splitlines())
    seen: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        seen.setdefault(entry["key"], []).append((entry["step"], entry["value"]))
    points = [(3, 0.25), (1000, 0.5)]
    other = next(name for name in seen if name.endswith("/acc"))
    assert {"acc": points, other: points, "score": [(7, "NaN")], "loss": [(0, 1.0), (1, 0.5), (2, 1 / 3)]} == seen
    assert not list(Path(own.record()["run_dir"]).glob("overlay/*"))

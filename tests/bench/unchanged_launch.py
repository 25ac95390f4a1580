"""An unchanged launch, and one with a line of code edited: Enter to the program's first line, everything recorded.

    python tests/bench/unchanged_launch.py

Beside them the same with `tracking=none` (what recording costs) and a Python that prints one line.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import launches
from paired import measure, parser, timed

WORDS = ("experiment=digits", "params.epochs=1")


def main() -> None:
    options = parser(__doc__, rounds=15)
    launches.add_options(options)
    chosen = options.parse_args()
    measured = launches.launches(chosen)
    copies = {launch: launches.project(chosen.home / f"edited-{launch.home.name}") for launch in measured}
    edits = itertools.count(1)

    def edited(launch: launches.Launch) -> float:
        program = copies[launch] / "experiments/digits/train.py"
        with program.open("a") as lines:
            lines.write(f"# edit {next(edits)}\n")
        return launches.Launch(launch.command, launch.home, copies[launch]).first_line(*WORDS)

    cases = [
        *launches.cases(measured, "unchanged launch", lambda launch: launch.first_line(*WORDS)),
        *launches.cases(measured, "one line of train.py edited", edited),
        *launches.cases(measured, "unchanged, `tracking=none`", lambda launch: launch.first_line(*WORDS, "tracking=none")),
        *launches.cases(measured[:1], "`python -c 'print()'` on the machine", lambda _launch: timed(_bare_python)),
    ]
    for launch in measured:
        launch.whole("build", "experiment=digits")
    measure("Enter to the first line", cases, rounds=chosen.rounds, warmups=2)


def _bare_python() -> None:
    subprocess.run([sys.executable, "-c", "print()"], check=True, stdout=subprocess.DEVNULL, cwd=Path("/"))


if __name__ == "__main__":
    main()

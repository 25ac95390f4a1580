"""`launch --help`, beside a Python that does nothing.

python tests/bench/command_help.py
"""

from __future__ import annotations

import subprocess
import sys

import launches
from paired import measure, parser, timed


def main() -> None:
    options = parser(__doc__, rounds=30)
    launches.add_options(options)
    chosen = options.parse_args()
    measured = launches.launches(chosen)
    cases = [
        *launches.cases(measured, "`launch --help`", lambda launch: launch.whole("--help")),
        *launches.cases(measured[:1], "`python -c pass`", lambda _launch: timed(_nothing)),
    ]
    measure("Help", cases, rounds=chosen.rounds, warmups=2)


def _nothing() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


if __name__ == "__main__":
    main()

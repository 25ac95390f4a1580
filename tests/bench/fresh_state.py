"""Fresh state to the first line of `digits`: base, wheels and bytecode, everything downloaded.

    python tests/bench/fresh_state.py

Needs the Debian archive and the package index; their speed is part of the figure. There is nothing to pair it with but another
`--launch`.
"""

from __future__ import annotations

import shutil

import launches
from paired import measure, parser


def main() -> None:
    options = parser(__doc__, rounds=3)
    launches.add_options(options)
    chosen = options.parse_args()

    def fresh(launch: launches.Launch) -> float:
        home = launch.home.with_name(f"fresh-{launch.home.name}")
        try:
            return launch.in_home(home).first_line("experiment=digits", "params.epochs=1", "tracking=none")
        finally:
            shutil.rmtree(home, ignore_errors=True)

    cases = launches.cases(launches.launches(chosen), "fresh state to the first line of `digits`", fresh)
    measure("Fresh state", cases, rounds=chosen.rounds, warmups=0)


if __name__ == "__main__":
    main()

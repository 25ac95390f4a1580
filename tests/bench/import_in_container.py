"""Importing scikit-learn and pandas in a fresh container: with bytecode in the layers, and without.

    python tests/bench/import_in_container.py

The program measures itself, so the start of the container is not in the figure. Beside it the same interpreter with
`PYTHONPYCACHEPREFIX` pointing to an empty directory: what an image without bytecode costs.
"""

from __future__ import annotations

import launches
from paired import measure, parser

PROGRAM = "import time; a = time.perf_counter(); import sklearn.neural_network, pandas; print(time.perf_counter() - a)"


def main() -> None:
    options = parser(__doc__, rounds=7)
    launches.add_options(options)
    chosen = options.parse_args()
    measured = launches.launches(chosen)
    cases = [
        *launches.cases(measured, "as the image is", _import),
        *launches.cases(measured, "without bytecode", lambda launch: _import(launch, "env.PYTHONPYCACHEPREFIX=/tmp/none")),
    ]
    measure("Import of scikit-learn and pandas in a container", cases, rounds=chosen.rounds)


def _import(launch: launches.Launch, *overrides: str) -> float:
    words = ("experiment=digits", "tracking=none", "-q", "--with", "pandas", *overrides, "--", "python3", "-c", PROGRAM)
    return float(launch.output(*words))


if __name__ == "__main__":
    main()

"""One small requirement added to `digits`: Enter to the first line, with a wheel that was never here.

    python tests/bench/add_requirement.py

Each round takes another version of humanize, and uv's cache forgets the package before: index asked, wheel fetched, unpacked and
compiled. Beside it the same version again, when its layer is there.
"""

from __future__ import annotations

import subprocess

import launches
from paired import measure, parser

VERSIONS = ("4.9.0", "4.10.0", "4.11.0", "4.12.0", "4.12.1", "4.12.2", "4.12.3", "4.13.0")


def main() -> None:
    options = parser(__doc__, rounds=len(VERSIONS) - 1)
    launches.add_options(options)
    chosen = options.parse_args()
    if chosen.rounds >= len(VERSIONS):
        options.error(f"{len(VERSIONS) - 1} rounds at most: each needs a version of its own, and one is for warming up")
    measured = launches.launches(chosen)
    versions = {launch: iter(VERSIONS) for launch in measured}
    current: dict[launches.Launch, str] = {}

    def added(launch: launches.Launch) -> float:
        current[launch] = next(versions[launch])
        _forget_humanize(launch)
        return _with_humanize(launch, current[launch])

    cases = [
        *launches.cases(measured, "requirement added", added),
        *launches.cases(measured, "its layer is there", lambda launch: _with_humanize(launch, current[launch])),
    ]
    for launch in measured:
        launch.whole("build", "experiment=digits")
    measure("One requirement more", cases, rounds=chosen.rounds)


def _with_humanize(launch: launches.Launch, version: str) -> float:
    return launch.first_line("experiment=digits", "params.epochs=1", "--with", f"humanize=={version}")


def _forget_humanize(launch: launches.Launch) -> None:
    from uv import find_uv_bin

    subprocess.run([find_uv_bin(), "cache", "clean", "--quiet", "humanize", "--cache-dir", str(launch.uv_cache)], check=True)


if __name__ == "__main__":
    main()

"""The table of docs/benchmarks.md: launch beside the peers that are installed, in turn, in one run. Markdown on stdout.

    python tests/bench/table.py                      # all of it, a quarter of an hour on an idle machine
    python tests/bench/table.py first-line trials    # some of it
    python tests/bench/table.py --list

As root docker is there too, by its daemon or by one that is started for the time. Who is missing is told, with the reason.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

import containers
import first_lines
import image_builds
import launches
import memory
import metrics
import peers
import registry
import saves
import trials
from bench import Bench
from paired import Group, machine, measure, parser, print_rows

GROUPS: tuple[Group, ...] = tuple(
    group
    for module in (first_lines, saves, image_builds, containers, trials, metrics, memory, registry)
    for group in module.GROUPS
)


def main() -> None:
    options = parser(__doc__, rounds=15)
    launches.add_options(options)
    options.add_argument("groups", nargs="*", metavar="NAME", help="rows to measure; all that take no hours, when none is named")
    options.add_argument("--list", action="store_true", help="the names")
    chosen = options.parse_args()
    if chosen.list:
        print("\n".join(f"{group.name}{'  (when it is named)' if group.only_named else ''}" for group in GROUPS))
        return
    if unknown := set(chosen.groups) - {group.name for group in GROUPS}:
        options.error(f"no such rows: {', '.join(sorted(unknown))}; --list shows the names")
    wanted = [group for group in GROUPS if group.name in chosen.groups or not (chosen.groups or group.only_named)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is cleared away
    chosen.home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        docker = opened.enter_context(peers.docker(chosen.home))
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=chosen.home)))
        scratch.chmod(0o755)
        bench = Bench(launches.chosen_launch(chosen), scratch, docker, peers.podman())
        sys.exit(_print_table(wanted, bench, chosen.rounds))


def _print_table(groups: list[Group], bench: Bench, rounds: int) -> int:
    """Returns how many groups failed: the others are measured all the same."""
    begun, failed = time.monotonic(), 0
    print(f"{machine()}; {rounds} rounds at most\n")
    print_rows((), with_headings=True)
    for group in groups:
        try:
            with group.lines(bench) as lines:
                measure(lines, rounds=min(rounds, group.rounds), warmups=group.warmups)
                print_rows(lines)
        except (SystemExit, Exception) as failure:
            failed += 1
            traceback.print_exc()
            reason = str(failure).partition("\n")[0] or type(failure).__name__
            print(f"| {group.name} | failed: {reason} | | | | | | |", flush=True)
    print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes")
    return failed


if __name__ == "__main__":
    main()

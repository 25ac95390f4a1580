"""`launch sweep ACTION SWEEP`: what a sweep found. One file an action, `launcher/cli/sweep/`; running one is `launch -m`."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.actions import action_main, epilog

ACTIONS = {
    "show": "its trials, the best ones, what mattered; pictures",
    "best": "the best trial: run it again, or write it down as an experiment",
}
"""Word → what it does; `launcher.cli.sweep.<word>` does it."""


def main(arguments: Sequence[str]) -> int:
    done = action_main("sweep", ACTIONS, arguments, shown_by_default="a sweep")
    if done is not None:
        return done
    parser = args.Parser(
        "sweep",
        "Look into a sweep. One is run by `launch -m experiment=NAME …` and taken up again by `launch resume SWEEP`.",
        usage="ACTION SWEEP",
        epilog=epilog("sweep", ACTIONS),
    )
    parser.parse_args(arguments)
    return parser.error("say what to do with which sweep: `launch sweep show @last`")

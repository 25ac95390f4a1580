"""`launch resume SWEEP [KEY=VALUE …]`: go on with a sweep that was interrupted, killed, or shall try more points."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.errors import ConfigError
from launcher.tracking.record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("resume", "Go on with a sweep.", usage="SWEEP [KEY=VALUE ...] [--force] [-q]")
    parser.add_argument("run", metavar="SWEEP", help=args.RUN)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="how much, how long: sweep.trials=100")
    parser.add_argument("--force", action="store_true", help="also when the space, the code or the images have changed")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    args.add_debug_options(parser)
    options = parser.parse_intermixed_args(arguments)
    args.apply_debug(options)
    from launcher.run.recover import recover_all

    state = state_dir()
    recover_all(state)
    record = find_run(state, options.run)
    if record.sweep_id != record.run_id:
        raise ConfigError(f"run `{record.run_id}` is no sweep", hint=f"`launch rerun {record.run_id}` runs it again")
    from launcher.cli.sweep import resume_sweep

    return resume_sweep(record, tuple(options.overrides), force=options.force, quiet=options.quiet)

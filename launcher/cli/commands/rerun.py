"""`launch rerun RUN [KEY=VALUE …]`: the recorded plan again, in the same image; then the two runs compared."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.placing import place
from launcher.cli.timings import Timings
from launcher.cli.verdict import print_verdict
from launcher.cli.watch import SIGNALS
from launcher.errors import ConfigError
from launcher.run.compare.compare import compare
from launcher.run.recover import recover_runs
from launcher.run.rerun import plan_again
from launcher.run.start.create_run import RunIdentity, new_run
from launcher.run.start.fork_server import ForkServer
from launcher.run.supervisor.signal_inbox import SignalInbox, held_back
from launcher.tracking.record.run_record import RunRecord, find_run, fold
from runtime.state_dir import StateDir, state_dir

DIFFERENT = 1
"""Exit code of `--verify` when the program did well and other things came out."""


def _parser() -> args.Parser:
    usage = "RUN [KEY=VALUE ...] [--with REQ] [--verify [--rtol R]] [--from URI] [-d]"
    parser = args.Parser("rerun", "Run a recorded run again: same plan, same image; other parameters if given.", usage=usage)
    parser.add_argument("run", metavar="RUN", help=f"{args.RUN}; of any machine, with --from or MLFLOW_TRACKING_URI")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what is to be different: `params.lr=0.5 seed=2`")
    with_help = "add a requirement (repeatable) to what it had, which stays as it was: --with 'humanize>=4'"
    parser.add_argument("--with", dest="requirements", action="append", default=[], metavar="REQ", help=with_help)
    parser.add_argument("--verify", action="store_true", help="exit with 1 unless metrics and outputs are the same")
    tolerance = "how much of its value a metric may differ by: 1e-5"
    parser.add_argument("--rtol", type=_tolerance, default=0.0, metavar="R", help=tolerance)
    parser.add_argument("--from", dest="source", metavar="URI", help="the MLflow server that has the record, where we have not")
    parser.add_argument("-d", "--detach", action="store_true", help="print the run id and leave; the run goes on")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    parser.add_argument("--name", help="name of the new run")
    args.add_debug_options(parser)
    return parser


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"not a tolerance between 0 and 1: `{text}`")
    return value


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_intermixed_args(arguments)
    args.apply_debug(options)
    if options.verify and options.detach:
        raise ConfigError("`--verify` compares at the end, and `--detach` doesn't wait for it")
    from launcher.cli.prepare import build_image, start_local_server

    state = state_dir().ensure()
    before = _recorded(options.run, options.source, state)
    again = plan_again(
        before,
        tuple(options.overrides),
        requirements=tuple(options.requirements),
        state=state,
        cwd=Path.cwd(),
        environ=os.environ,
    )
    for words in again.changed:
        render.warn(words)
    start_local_server(again.plan.spec, state)
    with ForkServer() as supervisors:
        prepared = build_image(again.plan, state, Timings(), quiet=options.quiet)
        identity = RunIdentity(name=options.name, command_line=("launch", *sys.argv[1:]), rerun_of=before.run_id)
        with held_back(SIGNALS):
            run_dir, lock_fd = new_run(again.plan, prepared.image.digest, state=state, identity=identity)
            placed = place(supervisors, again.plan, run_dir, lock_fd, quiet=options.quiet)
            inbox = None if options.detach else SignalInbox(SIGNALS)
        recover_runs(state)
    if inbox is None:
        print(run_dir.run_id)
        return 0
    code = placed.watch(inbox, quiet=options.quiet)
    return _compared(before, fold(run_dir), code, options)


def _recorded(reference: str, source: str | None, state: StateDir) -> RunRecord:
    """Of this machine, or else of the MLflow server that is named."""
    source = source or os.environ.get("MLFLOW_TRACKING_URI")
    try:
        return find_run(state, reference)
    except ConfigError:
        from launcher.tracking.record.recorded_elsewhere import fetch_record, looks_like_mlflow_run

        if not looks_like_mlflow_run(reference):
            raise
        if source is None:
            hint = "`--from URI` names the MLflow server that has it, or MLFLOW_TRACKING_URI"
            raise ConfigError(f"this machine has no MLflow run `{reference}`", hint=hint) from None
        return fetch_record(source, reference, state=state, environ=os.environ)


def _compared(before: RunRecord, after: RunRecord | None, code: int, options: argparse.Namespace) -> int:
    if after is None or (options.quiet and not options.verify):
        return code
    comparison = compare(before, after, rtol=options.rtol)
    if not options.quiet:
        print_verdict(before, after, comparison)
    if options.verify and code == 0 and not comparison.is_verified:
        return DIFFERENT
    return code

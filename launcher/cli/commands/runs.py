"""Commands for what is recorded: list runs, look into them, compare them, run them again; sweeps too."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from launcher.cli.arguments import ANY_RUNS, DETACH, JSON, NAME, NODE, QUIET, RECORD, RUN, RUNS
from launcher.cli.command import Argument, Command, Options, switch
from launcher.errors import ConfigError

_WHERE = Argument(
    "--where", metavar="EXPR", help="only runs that fulfil it: 'metrics.acc > 0.9 and params.lr < 0.1 and status = FINISHED'"
)
_SWEEP = Argument("sweep", metavar="SWEEP", help="its id or name, a trial of it, or @last", completed_by=["sweeps"])


@Command(
    "runs",
    "the runs so far; `runs show RUN`",
    "List the runs, oldest first, or do something with some.",
    _WHERE,
    Argument(
        "--sort", metavar="FIELDS", help="order by fields, e.g. 'metrics.acc desc, duration'; a run that lacks one comes last"
    ),
    Argument("-n", type=int, metavar="N", help="only N: the latest, or with --sort the first"),
    Argument(
        "--columns", metavar="FIELDS", help="show these fields, e.g. run,params.lr,metrics.acc,duration; docs/guides/tracking.md"
    ),
    JSON,
    usage="[ACTION RUN ...] [--where EXPR] [--sort FIELDS] [--columns FIELDS] [-n N] [--json]",
)
def runs(options: Options) -> int:
    if options.n is not None and options.n < 1:
        raise runs.wrong_usage("-n takes a number from 1 on")
    from launcher.cli.runs.table import show_runs

    return show_runs(options)


@runs.action(
    "show",
    "everything that is known about a run",
    "Show everything that is known about a run.",
    RUN,
    JSON,
    usage="RUN [--json]",
)
def runs_show(options: Options) -> int:
    from launcher.cli.runs.show import show_run

    return show_run(options.run, as_json=options.json)


@runs.action(
    "rm",
    "remove the directories of runs that have ended",
    "Remove the directories of runs that have ended.",
    ANY_RUNS,
    _WHERE,
    switch("--mlflow", help="delete them in MLflow, too, as its UI does: `mlflow gc` purges"),
    switch("--force", "-f", help="also what MLflow has not got yet"),
    switch("--yes", "-y", help="with --where: don't ask"),
    usage="RUN ... | --where EXPR [--mlflow] [--force] [--yes]",
    epilog="""outputs, checkpoints, logs and the record go; a sweep takes its trials along. A pinned run
stays (`launch runs unpin`), and so does what MLflow has not got yet (`launch sync`, or --force).""",
)
def runs_rm(options: Options) -> int:
    if bool(options.runs) == (options.where is not None):
        raise runs_rm.wrong_usage("name runs, or choose them by --where")
    from launcher.cli.runs.removal import remove_runs

    return remove_runs(options)


@runs.action(
    "pin",
    "keep runs, and the images they used, from every removal",
    "Keep runs from `runs rm`, and their images from `gc`.",
    RUNS,
    usage="RUN ...",
)
def runs_pin(options: Options) -> int:
    from launcher.cli.runs.removal import pin_runs

    return pin_runs(options.runs)


@runs.action("unpin", "let them go as others do", "Let pinned runs go as others do.", RUNS, usage="RUN ...")
def runs_unpin(options: Options) -> int:
    from launcher.cli.runs.removal import unpin_runs

    return unpin_runs(options.runs)


@Command(
    "logs",
    "a run's output; -f follows it",
    "Show a run's output: its stdout on stdout, its stderr on stderr, in the order in which they came.",
    RUN,
    switch("-f", "--follow", help="go on until the run ends; Ctrl-C leaves it running"),
    Argument("-n", "--tail", type=int, metavar="N", help="only the last N lines, of both streams together"),
    Argument("--since", metavar="WHEN", help="only what came since: `10m` ago, `14:05`, `2026-11-24T14:05:00Z`"),
    switch("-t", "--timestamps", help="begin each line with the time at which it came"),
    NODE,
    switch("--all-nodes", help="of all nodes, each line with its node in front"),
    usage="[-f] [-t] [--tail N] [--since WHEN] [--node K | --all-nodes] RUN",
)
def logs(options: Options) -> int:
    if options.tail is not None and options.tail < 0:
        raise logs.wrong_usage("--tail takes a number from 0 on")
    from launcher.cli.runs.logs import show_logs

    return show_logs(options)


@Command("outputs", "print the directory of a run's outputs", "Print the directory of a run's outputs.", RUN, usage="RUN")
def outputs(options: Options) -> int:
    from launcher.tracking.record.find_runs import find_run
    from runtime.state_dir import state_dir

    print(find_run(state_dir(), options.run).run_dir.outputs)
    return 0


@Command(
    "diff",
    "what differs between two runs, or two images",
    "Show what differs between two runs: configuration, code, packages, data, machine, metrics; or between two images.",
    Argument(
        "things",
        nargs=2,
        metavar="RUN|IMAGE",
        help="a run (id, name, @last, MLflow id), or an image (digest, name)",
        completed_by=["runs", "images"],
    ),
    switch("--files", help="images: every path, also those below an added or removed directory"),
    JSON,
    usage="RUN RUN | IMAGE IMAGE [--files] [--json]",
)
def diff(options: Options) -> int:
    from launcher.cli.difference import show_difference

    return show_difference(*options.things, all_files=options.files, as_json=options.json)


@Command(
    "plot",
    "draw a metric of runs, in the terminal or as a picture",
    "Draw a metric of runs; of a sweep, of all its trials.",
    Argument(
        "words",
        nargs="+",
        metavar="RUN ... METRIC",
        help="runs, and what to draw of them: loss,val_loss",
        completed_by=["runs"],
    ),
    switch("--time", help="over seconds instead of steps"),
    switch("--log", help="logarithmic values"),
    Argument("--smooth", type=float, default=0.0, metavar="W", help="exponential moving average, 0 to 1, as in TensorBoard"),
    Argument("-o", "--output", type=Path, metavar="FILE", help="write a picture, PNG, SVG or PDF by its ending"),
    usage="RUN ... METRIC[,METRIC] [--time] [--log] [--smooth W] [-o FILE.png|.svg|.pdf]",
)
def plot(options: Options) -> int:
    if not 0 <= options.smooth < 1:
        raise plot.wrong_usage("--smooth takes a weight from 0 up to, but not including, 1")
    if len(options.words) < 2:
        raise plot.wrong_usage("name at least one run and then the metric: `launch plot @last loss`")
    from launcher.cli.plots.metrics import draw_metrics

    return draw_metrics(options)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"not a tolerance between 0 and 1: `{text}`")
    return value


@Command(
    "rerun",
    "run a recorded run again and compare",
    "Run a recorded run again: same plan, same image; other parameters if given.",
    Argument(
        "run",
        metavar="RUN",
        help=f"{RUN.settings['help']}; of any machine, with --from or MLFLOW_TRACKING_URI",
        completed_by=["runs"],
    ),
    Argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="what is to be different: `params.lr=0.5 seed=2`", completed_by=["keys"]
    ),
    Argument(
        "--with",
        dest="requirements",
        action="append",
        default=[],
        metavar="REQ",
        help="add a requirement (repeatable) to what it had, which stays as it was: --with 'humanize>=4'",
    ),
    switch("--verify", help="exit with 1 unless metrics and outputs are the same"),
    Argument("--rtol", type=_tolerance, default=0.0, metavar="R", help="how much of its value a metric may differ by: 1e-5"),
    Argument("--from", dest="source", metavar="URI", help="the MLflow server that has the record, where we have not"),
    switch("--trust", help="with a record from elsewhere: give its program what it asks for of this machine, without a question"),
    DETACH,
    RECORD,
    QUIET,
    NAME,
    usage="RUN [KEY=VALUE ...] [--with REQ] [--verify [--rtol R]] [--from URI [--trust]] [-d] [--json]",
)
def rerun(options: Options) -> int:
    if options.verify and options.detach:
        raise ConfigError("`--verify` compares at the end, and `--detach` doesn't wait for it")
    from launcher.cli.runs.rerun import rerun_run

    return rerun_run(options)


@Command(
    "resume",
    "go on with a run that was stopped or lost its host, or with a sweep",
    "Go on with a run that was stopped or lost its host, or with a sweep.",
    Argument("run", metavar="RUN|SWEEP", help=RUN.settings["help"], completed_by=["runs"]),
    Argument("overrides", nargs="*", metavar="KEY=VALUE", help="of a sweep: how much, how long: sweep.trials=100"),
    switch("--force", help="also when data, or a sweep's space, code or images have changed"),
    DETACH,
    RECORD,
    QUIET,
    usage="RUN [-d] [-q] [--json] | SWEEP [KEY=VALUE ...] [--force] [-d] [-q] [--json]",
)
def resume(options: Options) -> int:
    from launcher.cli.runs.resume import resume_run_or_sweep

    return resume_run_or_sweep(options)


@Command(
    "sync",
    "send what MLflow missed",
    "Send to MLflow what it missed, now, and wait for it. Without this command it is sent in the background.",
    Argument("runs", nargs="*", metavar="RUN", help="default: every run that has something left", completed_by=["runs"]),
    usage="[RUN ...]",
)
def sync(options: Options) -> int:
    from launcher.cli.runs.sync import sync_runs

    return sync_runs(options.runs)


@Command(
    "sweep",
    "what a sweep found: `show`, `best`",
    "Look into a sweep. One is run by `launch -m experiment=NAME …` and taken up again by `launch resume SWEEP`.",
    usage="ACTION SWEEP",
)
def sweep(options: Options) -> int:
    raise sweep.wrong_usage("say what to do with which sweep: `launch sweep show @last`")


@sweep.action(
    "show",
    "its trials, the best ones, what mattered; pictures",
    "Show what a sweep found.",
    _SWEEP,
    Argument("-n", type=int, default=20, metavar="N", help="the N best trials (default 20)"),
    Argument("--pictures", type=Path, metavar="DIR", help="write history, parallel coordinates, slices and importance"),
    JSON,
    usage="SWEEP [-n N] [--pictures DIR] [--json]",
)
def sweep_show(options: Options) -> int:
    from launcher.cli.sweep.show import show_sweep

    return show_sweep(options)


@sweep.action(
    "best",
    "the best trial: run it again, or write it down as an experiment",
    "Show the best trial of a sweep.",
    _SWEEP,
    Argument("--trial", type=int, metavar="N", help="of several that are best: the one meant"),
    switch("--rerun", help="run it again and compare, as `launch rerun` does"),
    Argument("--export", type=Path, metavar="FILE", help="write it as an experiment, e.g. conf/experiment/best.yaml"),
    usage="SWEEP [--trial N] [--rerun] [--export FILE]",
)
def sweep_best(options: Options) -> int:
    from launcher.cli.sweep.best import show_best

    best_run = show_best(options)
    return rerun.function(rerun.parse([best_run])) if options.rerun else 0

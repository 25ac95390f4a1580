"""`launch plot RUN … METRIC`: curves of runs side by side, in the terminal or as a file."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.plots.plotted import Plot, plot_of
from launcher.errors import ConfigError
from launcher.run.compare.curve import Curve, read_curves
from launcher.tracking.record.run_record import RunRecord, find_run, list_runs
from runtime.state_dir import StateDir, state_dir
from runtime.suggestions import did_you_mean

_ROWS = 16


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "plot",
        "Draw a metric of runs; of a sweep, of all its trials.",
        usage="RUN ... METRIC[,METRIC] [--time] [--log] [--smooth W] [-o FILE.png|.svg|.pdf]",
    )
    parser.add_argument("words", nargs="+", metavar="RUN ... METRIC", help="runs, and what to draw of them: loss,val_loss")
    parser.add_argument("--time", action="store_true", help="over seconds instead of steps")
    parser.add_argument("--log", action="store_true", help="logarithmic values")
    parser.add_argument(
        "--smooth", type=float, default=0.0, metavar="W", help="exponential moving average, 0 to 1, as in TensorBoard"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a picture, PNG, SVG or PDF by its ending")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if not 0 <= options.smooth < 1:
        parser.error("--smooth takes a weight from 0 up to, but not including, 1")
    if len(options.words) < 2:
        parser.error("name at least one run and then the metric: `launch plot @last loss`")
    state = state_dir()
    records = _with_trials(state, [find_run(state, reference) for reference in options.words[:-1]])
    plots = [_plot(metric, records, options) for metric in options.words[-1].split(",")]
    if options.output is not None:
        return _write(plots, options.output)
    from launcher.cli.plots.terminal import plot_lines

    size = shutil.get_terminal_size((80, 24))
    for plot in plots:
        for line in plot_lines(plot, columns=size.columns, rows=_ROWS):
            print(line)
    return 0


def _with_trials(state: StateDir, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The trials in the place of their sweep."""
    sweeps = {record.run_id for record in records if record.is_sweep}
    trials = [record for record in list_runs(state) if record.parent_run_id in sweeps] if sweeps else []
    return [record for record in records if record.run_id not in sweeps] + trials


def _plot(metric: str, records: Sequence[RunRecord], options: argparse.Namespace) -> Plot:
    curves = {record.run_id: read_curves(record.run_dir) for record in records}
    labelled: list[tuple[str, Curve]] = []
    for record in records:
        curve = curves[record.run_id].get(metric)
        if curve is None:
            render.warn(f"run {record.run_id} has no metric `{metric}`")
        else:
            labelled.append((_label(record), curve))
    if not labelled:
        raise ConfigError(
            f"no run has a metric `{metric}`", hint=_there_is(metric, {name for each in curves.values() for name in each})
        )
    return plot_of(metric, labelled, over_time=options.time, log_y=options.log, smooth=options.smooth)


def _label(record: RunRecord) -> str:
    """`7f3a9c params.lr=0.1`"""
    apart = [override for override in record.overrides if not override.startswith("experiment=")]
    return " ".join([record.run_id, *apart])


def _there_is(metric: str, known: set[str]) -> str:
    hint = did_you_mean(metric, known)
    if hint is not None:
        return hint
    return f"there are {', '.join(sorted(known)[:12])}" if known else "these runs have reported no metrics"


def _write(plots: Sequence[Plot], path: Path) -> int:
    from launcher.cli.plots.file import check_format, write_plots

    check_format(path)
    write_plots(plots, path)
    print(path)
    return 0

"""`launch logs [-f] RUN`: the program's stdout on stdout, its stderr on stderr, in the order in which they came."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.moments import moment, timestamp
from launcher.cli.placing import place_of
from launcher.run.output import Output, Piece, lines_from
from launcher.tracking.record.run_nodes import node_directories, on_node
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir, state_dir

_TAIL_BYTES = 1 << 26
"""Where the last lines are looked for first."""


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "logs",
        "Show a run's output: its stdout on stdout, its stderr on stderr, in the order in which they came.",
        usage="[-f] [-t] [--tail N] [--since WHEN] [--node K | --all-nodes] RUN",
    )
    parser.add_argument("run", metavar="RUN", help=args.RUN)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends; Ctrl-C ends the looking only")
    parser.add_argument("-n", "--tail", type=int, metavar="N", help="only the last N lines, of both streams together")
    parser.add_argument("--since", metavar="WHEN", help="only what came since: `10m` ago, `14:05`, `2026-11-24T14:05:00Z`")
    parser.add_argument("-t", "--timestamps", action="store_true", help="begin each line with the time at which it came")
    args.add_node_option(parser)
    parser.add_argument("--all-nodes", action="store_true", help="of all nodes, each line with its node in front")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if options.tail is not None and options.tail < 0:
        parser.error("--tail takes a number from 0 on")
    from launcher.run.living import find_own_run

    since = 0.0 if options.since is None else moment(options.since, now=datetime.now().astimezone(), option="--since")
    record = find_own_run(state_dir(), options.run)
    if record.is_sweep:
        from launcher.cli.sweep.watch import print_sweep_lines

        print_sweep_lines(record.run_dir, follow=options.follow, tail=options.tail, since=since)
        return 0
    if options.all_nodes:
        _show_all_nodes(record, since=since, options=options)
    else:
        _show(record, on_node(record.run_dir, options.node), since=since, options=options)
    return 0


def _show(record: RunRecord, run_dir: RunDir, *, since: float, options: argparse.Namespace) -> None:
    printer = _Printer(with_time=options.timestamps)
    output, first = _beginning(run_dir, since=since, tail=options.tail)
    printer.show(first)
    if options.follow:
        for _ in place_of(record).until_it_ends():
            printer.show(output.new_pieces(since=since))
    if output.left_out and options.tail is None:
        render.say(f"{render.size(output.left_out)} in between were not kept (LAUNCH_LOG_LIMIT)")


def _show_all_nodes(record: RunRecord, *, since: float, options: argparse.Namespace) -> None:
    from launcher.cli.node_lines import NodePrinter, merged

    printer, outputs = NodePrinter(with_time=options.timestamps), {}
    first: dict[int, Iterable[Piece]] = {}
    for run_dir in node_directories(record.run_dir):
        outputs[run_dir.node], first[run_dir.node] = _beginning(run_dir, since=since, tail=options.tail)
    printer.show(merged(first))
    if options.follow:
        for _ in place_of(record).until_it_ends():
            for run_dir in node_directories(record.run_dir):
                outputs.setdefault(run_dir.node, Output(run_dir))
            printer.show(merged({node: output.new_pieces(since=since) for node, output in outputs.items()}))
    printer.finish()


def _beginning(run_dir: RunDir, *, since: float, tail: int | None) -> tuple[Output, Iterable[Piece]]:
    """The output of one node, and what of it is there; with *tail* only its last lines."""
    output = Output(run_dir)
    if tail is None:
        return output, output.new_pieces(since=since)
    last = lines_from(output.new_pieces(since=since, last_bytes=_TAIL_BYTES), tail)
    if output.skipped and sum(piece.data.count(b"\n") for piece in last) < tail:
        output = Output(run_dir)
        last = lines_from(output.new_pieces(since=since), tail)
    return output, last


class _Printer:
    """Writes pieces to our own streams, byte for byte; with the time where a line begins."""

    def __init__(self, *, with_time: bool) -> None:
        self._with_time = with_time
        self._fds = sys.stdout.fileno(), sys.stderr.fileno()

    def show(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            data = self._stamped(piece) if self._with_time else piece.data
            view = memoryview(data)
            while view:
                view = view[os.write(self._fds[piece.stream], view) :]

    def _stamped(self, piece: Piece) -> bytes:
        stamp = timestamp(piece.at).encode() + b" "
        body, end = (piece.data[:-1], b"\n") if piece.data.endswith(b"\n") else (piece.data, b"")
        return (stamp if piece.begins_line else b"") + body.replace(b"\n", b"\n" + stamp) + end

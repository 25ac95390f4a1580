"""`launch logs [-f] RUN`: the program's stdout on stdout, its stderr on stderr, in the order in which they came.

Of several nodes whole lines, each with its node in front.
"""

from __future__ import annotations

import heapq
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.run_place import place_of
from launcher.cli.watch import looks
from launcher.errors import ConfigError
from launcher.run.output import Output, Piece, lines_from
from launcher.run.running_runs import find_own_run
from launcher.tracking.record.run_nodes import node_directories, on_node
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir, state_dir
from runtime.whole_file import write_all

_TAIL_BYTES = 1 << 26
"""Where the last lines are looked for first."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def show_logs(options: Options) -> int:
    since = 0.0 if options.since is None else parse_moment(options.since, now=datetime.now().astimezone(), option="--since")
    record = find_own_run(state_dir(), options.run)
    if record.is_sweep:
        from launcher.cli.sweep.watch import print_sweep_lines

        print_sweep_lines(place_of(record), follow=options.follow, tail=options.tail, since=since)
        return 0
    if options.all_nodes:
        _show_all_nodes(record, since=since, options=options)
    else:
        _show(record, on_node(record.run_dir, options.node), since=since, options=options)
    return 0


def _show(record: RunRecord, run_dir: RunDir, *, since: float, options: Options) -> None:
    printer = _Printer(with_time=options.timestamps)
    output, first = _beginning(run_dir, since=since, tail=options.tail)
    printer.show(first)
    if options.follow:
        for _ in looks(place_of(record)):
            printer.show(output.new_pieces(since=since))
    if output.left_out and options.tail is None:
        render.say(f"{render.size(output.left_out)} in between were not kept (LAUNCH_LOG_LIMIT)")


def _show_all_nodes(record: RunRecord, *, since: float, options: Options) -> None:
    printer, outputs = NodePrinter(with_time=options.timestamps), {}
    first: dict[int, Iterable[Piece]] = {}
    for run_dir in node_directories(record.run_dir):
        outputs[run_dir.node], first[run_dir.node] = _beginning(run_dir, since=since, tail=options.tail)
    printer.show(merge_nodes(first))
    if options.follow:
        for _ in looks(place_of(record)):
            for run_dir in node_directories(record.run_dir):
                outputs.setdefault(run_dir.node, Output(run_dir))
            printer.show(merge_nodes({node: output.new_pieces(since=since) for node, output in outputs.items()}))
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
            write_all(self._fds[piece.stream], self._stamp(piece) if self._with_time else piece.data)

    def _stamp(self, piece: Piece) -> bytes:
        stamp = timestamp(piece.at).encode() + b" "
        body, end = (piece.data[:-1], b"\n") if piece.data.endswith(b"\n") else (piece.data, b"")
        return (stamp if piece.begins_line else b"") + body.replace(b"\n", b"\n" + stamp) + end


def merge_nodes(pieces: Mapping[int, Iterable[Piece]]) -> Iterator[tuple[int, Piece]]:
    """What each node said, by the time at which it came there."""
    return heapq.merge(*(_with_node(node, said) for node, said in pieces.items()), key=lambda each: each[1].at)


def _with_node(node: int, pieces: Iterable[Piece]) -> Iterator[tuple[int, Piece]]:
    return ((node, piece) for piece in pieces)


@dataclass(slots=True)
class NodePrinter:
    """Writes lines when they are whole: two nodes never share one."""

    with_time: bool
    begun: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(node, stream) → a line whose end has not come."""

    def show(self, pieces: Iterable[tuple[int, Piece]]) -> None:
        for node, piece in pieces:
            *lines, rest = (self.begun.pop((node, piece.stream), b"") + piece.data).split(b"\n")
            for line in lines:
                self._write(node, piece.stream, line, at=piece.at)
            if rest:
                self.begun[node, piece.stream] = rest

    def finish(self) -> None:
        for (node, stream), line in sorted(self.begun.items()):
            self._write(node, stream, line, at=None)
        self.begun.clear()

    def _write(self, node: int, stream: int, line: bytes, *, at: float | None) -> None:
        stamp = f"{timestamp(at)} " if self.with_time and at is not None else ""
        write_all((sys.stdout if stream == 0 else sys.stderr).fileno(), f"node {node} | {stamp}".encode() + line + b"\n")


def parse_moment(text: str, *, now: datetime, option: str) -> float:
    """*text* as Unix seconds; dates without a zone are in that of *now*."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now.timestamp() - sum(float(number) * _UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return float(text)
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        text = f"{now.date().isoformat()}T{text.zfill(len(text) + (text.index(':') == 1))}"
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"`{option} {text}` is no time", hint="`10m`, `1h30m`, `14:05`, `2026-11-24T14:05:00Z` or seconds since 1970"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=now.tzinfo)).timestamp()


def timestamp(at: float) -> str:
    """`2026-11-24T14:05:00.123456Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

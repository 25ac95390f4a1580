"""The output of several nodes as one: whole lines, each with its node in front."""

from __future__ import annotations

import heapq
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from launcher.cli.moments import timestamp
from launcher.run.output import Piece


def merged(pieces: Mapping[int, Iterable[Piece]]) -> Iterator[tuple[int, Piece]]:
    """What each node said, by the time at which it came there."""
    return heapq.merge(*(_numbered(node, said) for node, said in pieces.items()), key=lambda each: each[1].at)


def _numbered(node: int, pieces: Iterable[Piece]) -> Iterator[tuple[int, Piece]]:
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
        view = memoryview(f"node {node} | {stamp}".encode() + line + b"\n")
        fd = (sys.stdout if stream == 0 else sys.stderr).fileno()
        while view:
            view = view[os.write(fd, view) :]

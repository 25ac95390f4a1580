"""Follow a file of lines that a program appends to, and take over the metrics that its lines hold."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

from launcher.tracking.metrics.metric_log import MetricLog, Sighting, read_at

_LINE_MAX = 1 << 20
_SLICE = 4 << 20


class GrowingLines:
    """*metrics_of* finds the metrics of one line; its ValueError is a note of the run, never more.

    *line_ends*: the bytes that end a line (a progress bar ends its with a carriage return).
    """

    def __init__(
        self,
        path: Path,
        source: str,
        log: MetricLog,
        metrics_of: Callable[[bytes], Iterable[Sighting]],
        *,
        line_ends: bytes = b"\n",
    ) -> None:
        self._path = path
        self._source = source
        self._log = log
        self._metrics_of = metrics_of
        self._other_ends = line_ends.replace(b"\n", b"")
        self._offset = log.offsets.get(source, 0)

    def follow(self, *, to_the_end: bool = False) -> None:
        """Take over the lines that were completed since the last call; at the end also one without a newline."""
        # Opened only when there is something: on a shared file system an open is a question to its server, ten times a second.
        while self._has_grown() and (content := read_at(self._path, self._offset, _SLICE)):
            before = self._offset
            self._take_over(content, to_the_end=to_the_end and len(content) < _SLICE)
            if self._offset == before:
                return

    def _has_grown(self) -> bool:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return False
        if size < self._offset:
            self._log.note(f"{self._source} was truncated by the program; it is read again from its beginning")
            self._offset = 0
        return size > self._offset

    def _take_over(self, content: bytes, *, to_the_end: bool) -> None:
        seen: list[tuple[Sighting, int]] = []
        offset = self._offset
        for end in self._other_ends:
            content = content.replace(bytes([end]), b"\n")
        for line in io.BytesIO(content):  # splits at newlines only, not at the \r that bytes.splitlines takes for one
            if not line.endswith(b"\n") and not to_the_end and len(line) < _LINE_MAX:
                break
            offset += len(line)
            try:
                seen += [(found, offset) for found in self._metrics_of(line)]
            except (ValueError, OverflowError, RecursionError) as error:
                self._log.note(f"{self._source} has a line that cannot be read: {line[:80]!r} ({error})")
        self._log.take_over(seen, source=self._source)
        self._offset = offset

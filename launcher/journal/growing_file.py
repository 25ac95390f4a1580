"""A file of lines that others append to, read as it grows: journals, logs of sweeps, orders of workers, metrics of programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

SLICE_BYTES = 4 << 20


class GrowingFile:
    """Hands out each whole line once. A line without an end is left for the next look: its writer may be at it, or was killed."""

    __slots__ = ("_ends", "_longest_bytes", "_slice_bytes", "offset", "path")

    def __init__(
        self,
        path: Path,
        offset: int = 0,
        *,
        slice_bytes: int = SLICE_BYTES,
        longest_bytes: int = sys.maxsize,
        also_ends: bytes = b"",
    ) -> None:
        """*slice_bytes*: what is read at once, so that a file that was missed for long does not fill the memory. What is longer
        than *longest_bytes*, at least a slice, is handed out as a line without an end of it. *also_ends*: what ends a line
        beside a newline."""
        self.path = path
        self.offset = offset
        """Bytes that have been handed out."""
        self._slice_bytes = slice_bytes
        self._longest_bytes = longest_bytes
        self._ends = bytes.maketrans(also_ends, b"\n" * len(also_ends)) if also_ends else None

    def new_lines(self) -> list[bytes]:
        """What was added since the last call, without the ends of lines; nothing while there is no file."""
        return [line for lines in self.slices() for line in lines]

    def slices(self, *, to_the_end: bool = False) -> Iterator[list[bytes]]:
        """`new_lines` in parts. *to_the_end*: nothing will be added any more, the last line needs no end.

        The file is opened each time: between machines that is when NFS asks its server what there is.
        """
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file:
            size = self._slice_bytes
            while True:
                file.seek(self.offset)
                content = file.read(size)
                if self._ends is not None:
                    content = content.translate(self._ends)
                end = content.rfind(b"\n") + 1
                is_all = len(content) < size
                if not end and (to_the_end if is_all else size >= self._longest_bytes):
                    end = len(content)
                if end:
                    self.offset += end
                    yield content[:end].removesuffix(b"\n").split(b"\n")
                    size = self._slice_bytes
                elif is_all:
                    return
                else:
                    size *= 2

"""A file of lines that others append to, read as it grows: journals, logs of sweeps, orders of workers, metrics of programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

SLICE_BYTES = 4 << 20


class GrowingFile:
    """Hands out each whole line once. A line without an end is left for the next look: its writer may be at it, or was killed."""

    __slots__ = ("offset", "path", "slice_bytes")

    def __init__(self, path: Path, offset: int = 0, *, slice_bytes: int = SLICE_BYTES) -> None:
        """*slice_bytes*: what is read at once, so that a file that was missed for long does not fill the memory."""
        self.path = path
        self.offset = offset
        """Bytes that have been handed out."""
        self.slice_bytes = slice_bytes

    def new_lines(self) -> list[bytes]:
        """What was added since the last call, without the ends of lines; nothing while there is no file."""
        return [line for lines in self.slices() for line in lines]

    def slices(self) -> Iterator[list[bytes]]:
        """`new_lines` in parts.

        The file is opened each time: between machines that is when NFS asks its server what there is.
        """
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file:
            size = self.slice_bytes
            while True:
                file.seek(self.offset)
                content = file.read(size)
                end = content.rfind(b"\n") + 1
                if end:
                    self.offset += end
                    yield content[: end - 1].split(b"\n")
                    size = self.slice_bytes
                elif len(content) < size:
                    return
                else:
                    size *= 2

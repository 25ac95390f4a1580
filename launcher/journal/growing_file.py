"""A file of lines that others append to, read as it grows: journals, logs of sweeps, orders of workers, metrics of programs."""

from __future__ import annotations

from pathlib import Path

SLICE = 4 << 20
"""Bytes that are read at once: a file that was missed for a while does not fill the memory."""


class GrowingFile:
    """Hands out each whole line once. A line without an end is left for the next look: its writer may be at it, or was killed."""

    __slots__ = ("offset", "path")

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        """Bytes that have been handed out."""

    def new_lines(self) -> list[bytes]:
        """What was added since the last call, without the ends of lines; nothing while there is no file.

        The file is opened each time: between machines that is when NFS asks its server what there is.
        """
        lines: list[bytes] = []
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.offset)
                while whole := self._whole_part(file.read(SLICE)):
                    lines += whole[:-1].split(b"\n")
                    self.offset += len(whole)
                    file.seek(self.offset)
        except FileNotFoundError:
            return []
        return lines

    @staticmethod
    def _whole_part(content: bytes | None) -> bytes:
        content = content or b""
        return content[: content.rfind(b"\n") + 1]

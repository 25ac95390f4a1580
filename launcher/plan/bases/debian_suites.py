"""The Debian suites that are known to work, with what they have as released: for choices, advice, and guesses before the archive
has answered."""

from __future__ import annotations

from typing import NamedTuple


class DebianSuite(NamedTuple):
    python: str
    """`3.13.5`"""
    glibc: tuple[int, int]
    libstdcxx: int
    """n of its newest `GLIBCXX_3.4.n`."""

    @property
    def minor(self) -> str:
        """`3.13`"""
        return self.python.rpartition(".")[0]

    def has_python(self, wanted: str) -> bool:
        """Whether its Python is *wanted*, `3.13` or `3.13.5`."""
        return wanted in (self.python, self.minor)


DEBIAN_SUITES = {"trixie": DebianSuite("3.13.5", (2, 41), 33), "bookworm": DebianSuite("3.11.2", (2, 36), 30)}
"""The newest first."""

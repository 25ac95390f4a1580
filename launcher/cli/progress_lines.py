"""What is going on in a build, as lines for a terminal of any width. Drawing them again and again is `progress.py`.

A step is a spinner, its name and the time since it began. Only a download has bytes, a total and a speed.
"""

from __future__ import annotations

from collections import deque

from launcher.cli import render
from runtime.light_dataclasses import dataclass, field

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER = "|/-\\"
_TURNS_A_SECOND = 8
_BAR = 20
_SPEED_OVER_S = 3.0
_SPEED_AFTER_S = 0.5


@dataclass(slots=True)
class RunningStep:
    """A step, or a batch of wheels, that is being made."""

    label: str
    begun_at: float
    detail: str = ""
    """The last line that its command printed."""

    def line(self, now: float, *, width: int, plain: bool) -> str:
        frames = _PLAIN_SPINNER if plain else _SPINNER
        spinner = frames[int(now * _TURNS_A_SECOND) % len(frames)]
        return fit(f"{spinner} {self.label}", _elapsed(now - self.begun_at), self.detail, width=width)

    def words(self, now: float) -> str:
        """The same for a line that stays."""
        return f"{self.label} ({_elapsed(now - self.begun_at)})"


@dataclass(slots=True)
class Download:
    """Bytes on their way."""

    label: str
    done: int = 0
    total: int | None = None
    seen: deque[tuple[float, int]] = field(default_factory=deque)
    """(when, how much was there) of the last seconds, the oldest first."""

    def update(self, done: int, total: int | None, *, now: float) -> None:
        self.done, self.total = done, total
        self.seen.append((now, done))
        while len(self.seen) > 2 and now - self.seen[0][0] > _SPEED_OVER_S:
            self.seen.popleft()

    @property
    def bytes_a_second(self) -> float | None:
        """None as long as the first bytes, which come at once out of buffers, would make it absurd."""
        (begun_at, before), (now, done) = self.seen[0], self.seen[-1]
        return (done - before) / (now - begun_at) if now - begun_at >= _SPEED_AFTER_S else None

    def line(self, *, width: int, plain: bool) -> str:
        figures = self._figures()
        text = f"  {self.label}"
        room = width - len(text) - len(figures) - 4
        return fit(text, figures, self._bar(plain=plain) if room >= _BAR else "", width=width)

    def words(self) -> str:
        """The same for a line that stays."""
        return f"{self.label} {self._figures()}"

    def _figures(self) -> str:
        speed = self.bytes_a_second
        of = "" if self.total is None else f" of {render.size(self.total)}"
        return render.size(self.done) + of + ("" if speed is None else f", {render.size(speed)}/s")

    def _bar(self, *, plain: bool) -> str:
        if not self.total:
            return ""
        filled = min(_BAR, self.done * _BAR // self.total)
        full, empty = "#." if plain else "━╌"
        return full * filled + empty * (_BAR - filled)


def fit(text: str, figures: str, detail: str, *, width: int) -> str:
    """`text  figures  detail` in *width* columns: first the detail is cut, then the text; the figures stay."""
    if len(text) + 2 + len(figures) > width:
        return f"{cut(text, max(width - len(figures) - 2, 1))}  {figures}"[:width]
    room = width - len(text) - len(figures) - 4
    return f"{text}  {figures}" + (f"  {cut(detail, room)}" if detail and room >= 8 else "")


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _elapsed(seconds: float) -> str:
    """Whole seconds: a number that changes ten times a second draws the eye."""
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} m {whole % 60:02d} s"

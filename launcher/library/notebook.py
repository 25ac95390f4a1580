"""What Jupyter shows of a run: its state, its last metrics with their curves, and that again while somebody waits for it."""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from launcher.tracking.record.run_record import RunRecord

_MOST_CURVES = 6
_WIDTH, _HEIGHT, _MARGIN = 180, 44, 3

Points = list[tuple[float, float]]


def card(record: RunRecord, metrics: Mapping[str, Sequence[float | None]]) -> str:
    """HTML of a run; *metrics* are columns."""
    took = "" if record.duration_s is None else f" &middot; {record.duration_s:.1f} s"
    link = "" if record.mlflow_url is None else f' &middot; <a href="{html.escape(record.mlflow_url)}" target="_blank">MLflow</a>'
    why = record.message or record.waits_for or ""
    head = f"<b>{html.escape(record.experiment)}</b> <code>{record.run_id}</code> {_state(record)}{took}{link}"
    said = f"<div>{html.escape(why)}</div>" if why else ""
    curves = "".join(_curve(name, points) for name, points in islice(_curves(metrics), _MOST_CURVES))
    return f'<div class="launch-run"><div>{head}</div>{said}{curves}</div>'


def _state(record: RunRecord) -> str:
    if record.exit_code is None:
        return html.escape(record.phase if record.started_at is None else record.status.lower())
    return html.escape(record.status.lower() + (f" ({record.reason})" if record.reason not in (None, "completed") else ""))


def _curves(metrics: Mapping[str, Sequence[float | None]]) -> Iterator[tuple[str, Points]]:
    steps = metrics.get("step", ())
    for name, values in metrics.items():
        points = [(x, y) for x, y in zip(steps, values, strict=True) if x is not None and y is not None and math.isfinite(y)]
        if name != "step" and points:
            yield name, points


def _curve(name: str, points: Points) -> str:
    words = f"<div>{html.escape(name)} <b>{points[-1][1]:.4g}</b></div>"
    return f'<div style="display:inline-block;margin:4px 12px 0 0">{words}{_svg(points)}</div>'


def _svg(points: Points) -> str:
    """A line as tall and wide as it fits, in the colour of the text: it is read on light and on dark pages."""
    across, up = _scale([x for x, _y in points], _WIDTH), _scale([y for _x, y in points], _HEIGHT)
    dots = " ".join(f"{across(x):.1f},{_HEIGHT - up(y):.1f}" for x, y in points)
    line = f'<polyline points="{dots}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    last = f'<circle cx="{across(points[-1][0]):.1f}" cy="{_HEIGHT - up(points[-1][1]):.1f}" r="2.5" fill="currentColor"/>'
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{line}{last}</svg>'


def _scale(values: Sequence[float], room: float) -> Callable[[float], float]:
    low, high = min(values), max(values)
    if low == high:
        return lambda _value: room / 2
    return lambda value: _MARGIN + (value - low) / (high - low) * (room - 2 * _MARGIN)


@contextmanager
def live_card(run: object) -> Iterator[Callable[[], None]]:
    """A function that shows *run* anew in the cell of the notebook that we are in; elsewhere it shows nothing."""
    handle = _display(run)
    yield (lambda: None) if handle is None else (lambda: handle.update(run))


def _display(run: object) -> Any:
    """IPython's handle of what it displays; None outside of a notebook. Nothing is imported that is not there already."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return ipython.display.display(run, display_id=True)  # type: ignore[union-attr]

"""A matplotlib backend for a process without a display: `plt.show()` writes the figures to the run's outputs.

It stands beside the image's matplotlib and is named by MPLBACKEND, a module of its own that imports nothing of launch. A `show`
that would block until its windows are closed writes all figures and closes them; figures that are drawn on (`block=False`,
`plt.pause`) are written as they are when the program ends.
"""

from __future__ import annotations

import atexit
import os
import warnings

from matplotlib import is_interactive
from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas
from matplotlib.figure import Figure

__all__ = ["FigureCanvas", "show"]

_shown: list[Figure] = []
"""Figures that a program goes on to draw on."""


def show(*args: object, block: bool | None = None) -> None:
    managers = Gcf.get_all_fig_managers()
    if block if block is not None else not is_interactive():
        for manager in managers:
            _write(manager.canvas.figure)
            Gcf.destroy(manager)
    else:
        _shown.extend(manager.canvas.figure for manager in managers if manager.canvas.figure not in _shown)


@atexit.register
def _write_shown() -> None:
    for figure in _shown:
        _write(figure)


def _write(figure: Figure) -> None:
    """*figure* as the first `figures/N.png` that is not there: other processes of the run write theirs beside it."""
    directory = os.path.join(os.environ.get("LAUNCH_OUTPUTS", "."), "figures")
    try:
        os.makedirs(directory, exist_ok=True)
        number = 1
        while True:
            try:
                with open(os.path.join(directory, f"{number}.png"), "xb") as file:
                    figure.savefig(file, format="png")
                return
            except FileExistsError:
                number += 1
    except OSError as error:
        warnings.warn(f"a figure of plt.show() could not be written to {directory}: {error}", stacklevel=3)

"""Files of ours in a program's container: what runs a notebook (`command: train.ipynb`), and what `plt.show()` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.plan.program.environment import RUN_DIRECTORY
from runtime.build.plan import InstallWheel, Step
from runtime.container.spec import ContainerSpec
from runtime.light_dataclasses import replace
from runtime.rootfs.mount_spec import TmpfsFile

_INSIDE = Path(__file__).parents[2] / "inside"
_RUNNER = f"{RUN_DIRECTORY}/run_notebook.py"
_BACKEND = "launch_show_figures"
_PLACES_OF_FIGURES = frozenset(("MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY"))


def notebook_argv(words: Sequence[str]) -> tuple[str, ...]:
    return ("python3", _RUNNER, *words)


def notebook_files(argv: Sequence[str]) -> tuple[TmpfsFile, ...]:
    """What a program of *argv* needs in its container."""
    return (_own("run_notebook.py", _RUNNER),) if _RUNNER in argv[:2] else ()


def with_shown_figures(container: ContainerSpec, steps: Sequence[Step]) -> ContainerSpec:
    """*container* with the backend that keeps the figures of `plt.show()`, beside the matplotlib of an image of *steps*: whoever
    imports the one finds the other. Not where figures have another place: a backend or a display that the environment names, the
    cells of a notebook."""
    wheels = {step.name: step for step in steps if isinstance(step, InstallWheel)}
    matplotlib = wheels.get("matplotlib")
    if matplotlib is None or "ipykernel" in wheels or not _PLACES_OF_FIGURES.isdisjoint(container.env):
        return container
    backend = _own("show_figures.py", f"{matplotlib.prefix}/lib/python{matplotlib.python}/site-packages/{_BACKEND}.py")
    env = {**container.env, "MPLBACKEND": f"module://{_BACKEND}"}
    return replace(container, env=env, tmpfs_files=(*container.tmpfs_files, backend))


def _own(name: str, target: str) -> TmpfsFile:
    return TmpfsFile(target, (_INSIDE / name).read_bytes(), mode=0o444)

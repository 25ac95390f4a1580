"""What a person asked for: configuration, plan, run, record, sweep, command line.

The names below are for scripts and notebooks (docs/guides/python.md) and keep their meaning; everything else in here may change.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.errors import ConfigError as ConfigError
    from launcher.errors import LaunchError as LaunchError
    from launcher.errors import NotReproduced as NotReproduced
    from launcher.errors import RunFailed as RunFailed
    from launcher.library.launching import launch as launch
    from launcher.library.launching import launch_sweep as launch_sweep
    from launcher.library.launching import plan_launch as plan_launch
    from launcher.library.launching import rerun as rerun
    from launcher.library.runs import Run as Run
    from launcher.library.runs import Sweep as Sweep
    from launcher.library.runs import get_run as get_run
    from launcher.library.runs import runs as runs

_HOMES = {
    "launcher.errors": ("ConfigError", "LaunchError", "NotReproduced", "RunFailed"),
    "launcher.library.launching": ("launch", "launch_sweep", "plan_launch", "rerun"),
    "launcher.library.runs": ("Run", "Sweep", "get_run", "runs"),
}
__all__ = ["ConfigError", "LaunchError", "NotReproduced", "Run", "RunFailed", "Sweep"]
__all__ += ["get_run", "launch", "launch_sweep", "plan_launch", "rerun", "runs"]


def __getattr__(name: str) -> object:
    """A public name, when somebody asks for it: the command, which is made of what lies in here, does not pay for it."""
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(home), name)
    raise AttributeError(f"module 'launcher' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

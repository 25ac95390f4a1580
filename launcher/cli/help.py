"""`launch --help` and `launch --version`."""

from __future__ import annotations

_HEAD = """\
launch: declarative ML experiments. A YAML file becomes an image, an isolated container and a recorded run.

usage: launch experiment=NAME [KEY=VALUE ...] [OPTIONS]
       launch COMMAND [ARGUMENTS]

commands:
"""

_TAIL = """
examples:
  launch experiment=digits                              build what is missing, run, record
  launch experiment=digits params.lr=0.01 seed=3        change values (Hydra's override grammar)
  launch experiment=digits --with humanize              one more requirement
  launch experiment=digits -- python3 other.py          another command in the same environment
  launch -m experiment=digits params.lr=0.1,0.01        a sweep
  launch rerun @last                                    the same again, compared

`launch COMMAND --help` tells more. State lies in LAUNCH_HOME; RUN is a short prefix, a name, `@last` or an MLflow run id.
"""


def print_help(commands: dict[str, str]) -> int:
    width = max(len(name) for name in commands)
    lines = "".join(f"  {name:<{width}}  {text}\n" for name, text in commands.items())
    print(_HEAD + lines + _TAIL, end="")
    return 0


def print_version() -> int:
    from launcher.version import VERSION

    print(f"launch {VERSION}")
    return 0

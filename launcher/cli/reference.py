"""The page docs/reference/command-line.md, made from what each command prints for `--help`.

    python -m launcher.cli.reference > docs/reference/command-line.md

A test compares the page with what this makes.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress

from launcher.cli.main import commands, run

_WIDTH = "100"

_INTRODUCTION = """\
# Command line

<!-- Made by `python -m launcher.cli.reference`; edit the declarations in `launcher/cli/commands` instead. -->

RUN is a short prefix of a run's id, its name, `@last` (`@last~1` is the one before), `@job4242` (that job of a
cluster), or an MLflow run id. Keys for `KEY=VALUE` are in [configuration.md](configuration.md).

## Exit codes

| code | meaning |
| --- | --- |
| the program's | it ran to its end; 128 + n: it died of signal n |
| 2 | the command line or a configuration file is wrong; nothing was started |
| 124 | `timeout` was reached |
| 125 | launch or the machine failed, not the program |
| 126, 127 | the command cannot be executed, was not found |

A program may itself exit with 2 or 125; the last lines of a run and `launch runs show` (`reason`) say whose code it was.

## Environment

| variable | meaning |
| --- | --- |
| `LAUNCH_HOME` | directory of all state; default `/var/lib/launch` for root, else `~/.local/share/launch` (`$XDG_DATA_HOME`) |
| `LAUNCH_DEBIAN_MIRROR` | address of the Debian archive, unless `image.mirror` names one; default: this machine's apt sources |
| `LAUNCH_UI_PORT` | port of the MLflow UI on loopback; default: the first free one from 5000 on |
| `LAUNCH_MLFLOW_IDLE_S` | seconds without a request after which the local MLflow server ends; default 1800 |
| `LAUNCH_LOG_LIMIT` | how much of each output stream of a run is kept, `100MiB`; `0`: all; default `1GiB` |
| `LAUNCH_LEASE_DIR` | where GPU leases lie; the same for all users of a machine |
| `LAUNCH_NVML_LIBRARY`, `LAUNCH_DRIVER_LIBRARIES` | where NVIDIA's management library and the driver's libraries lie |
| `LAUNCH_DRIVER_ROOT`, `LAUNCH_DEV_ROOT` | what the driver's files and the device nodes are below, where that isn't `/` |
| `LAUNCH_CDI_DIRS` | where CDI specifications are looked for; default `/etc/cdi:/var/run/cdi` |
| `LAUNCH_WARM` | `0`: no warm helper, neither used nor left behind |
| `LAUNCH_NO_CONFIG_CACHE` | `1`: compose every configuration anew |
| `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `…_PASSWORD` | for a `tracking.uri` that needs them |
| `NO_COLOR`, `FORCE_COLOR` | no colour; colour also where no terminal is |
| `LAUNCH_DEBUG`, `LAUNCH_VERBOSE` | the same as `--debug` and `--verbose` |

pip's and uv's settings (configuration files and `PIP_*`, `UV_*` variables) count when requirements are resolved: see
[images and locks](../guides/images-and-locks.md).
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, "## `launch`\n\n" + _block(_help_of())]
    for command in commands().values():
        parts.append(f"## `launch {command.words}`\n\n{_block(_help_of(command.words))}")
        parts += [_block(_help_of(*action.words.split())) for action in command.actions.values()]
    return "\n".join(parts)


def _help_of(*words: str) -> str:
    """What `launch WORDS --help` prints, at a fixed width."""
    printed = io.StringIO()
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        # argparse ends --help with SystemExit.
        with redirect_stdout(printed), suppress(SystemExit):
            run([*words, "--help"])
    finally:
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width
    return printed.getvalue()


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


if __name__ == "__main__":
    print(page(), end="")

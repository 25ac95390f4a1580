"""Arguments that several commands declare, and what those that name an experiment mean."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from launcher.cli.command import Argument, Options, switch
from launcher.errors import ConfigError

RUN_HELP = "a short prefix, a name, @last, @last~1 or an MLflow run id"
RUN = Argument("run", metavar="RUN", help=RUN_HELP, completed_by=["runs"])
RUNS = Argument("runs", nargs="+", metavar="RUN", help=RUN_HELP, completed_by=["runs"])
ANY_RUNS = Argument("runs", nargs="*", metavar="RUN", help=RUN_HELP, completed_by=["runs"])

_IMAGE = "a digest prefix, a name or an experiment"
IMAGE = Argument("image", metavar="IMAGE", help=_IMAGE, completed_by=["images"])
IMAGES = Argument("images", nargs="+", metavar="IMAGE", help=_IMAGE, completed_by=["images"])

JSON = switch("--json", help="as JSON on stdout")
RECORD = switch("--json", help="only the record as JSON on stdout (`runs show RUN --json`): at the end, or with -d at once")
QUIET = switch("-q", "--quiet", help="nothing of ours on stderr but errors")
DETACH = switch("-d", "--detach", help="print the id and leave; it goes on")
TIMINGS = switch("--timings", help="print the seconds of each phase at the end")
NAME = Argument("--name", help="name of the run")
NODE = Argument("--node", type=int, default=0, metavar="K", help="of a run on several nodes: which one; the first is 0")
SECRET = Argument(
    "--secret", action="append", default=[], metavar="id=ID[,src=FILE|,env=NAME]", help="for `RUN --mount=type=secret`"
)
IN_IMAGE = Argument("--image", metavar="IMAGE", help="in an existing image: a digest prefix, a name or an experiment")
CONFIG_DIR = Argument(
    "-cd", "--config-dir", type=Path, metavar="DIR", help="a directory in front of the configuration search path"
)

EXPERIMENT = (
    Argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="overrides in Hydra's grammar; `experiment=NAME` chooses the experiment",
        completed_by=["experiments", "keys"],
    ),
    Argument(
        "--with",
        dest="requirements",
        action="append",
        default=[],
        metavar="REQ",
        help="add a requirement (repeatable): --with 'humanize>=4'",
    ),
    CONFIG_DIR,
)


_HYDRAS_OWN = {
    ("-cn", "--config-name"): "there is one configuration; `experiment=NAME` chooses what is launched",
    ("-cp", "--config-path"): "`--config-dir DIR` puts a directory in front of the search path",
    ("-i", "--info"): "`launch --cfg job experiment=NAME` prints the configuration, `launch plan …` what is made of it",
    ("-p", "--package"): "`--cfg job` prints all of it",
    ("-r", "--run"): "a run is what `launch experiment=NAME` does",
    ("-sc", "--shell-completion"): "`launch completion bash`, zsh or fish",
    ("--resolve",): "what `--cfg job` prints is resolved",
    ("--experimental-rerun",): "`launch rerun RUN`",
    ("--hydra-help",): "`launch --help`",
}
"""Options of a Hydra program (hydra/_internal/utils.py) that mean nothing here, and what does the same."""


def without_hydras_own(words: Sequence[str]) -> Sequence[str]:
    """*words*, unless one is an option that only a program with `@hydra.main` has. Raises ConfigError."""
    for word in words:
        for names, instead in _HYDRAS_OWN.items():
            if word.partition("=")[0] in names:
                raise ConfigError(f"`{word}` is an option of Hydra programs", hint=instead)
    return words


class Talk(Enum):
    """How much a command says of its own on stderr."""

    QUIET = "errors"
    NORMAL = "what takes time"
    VERBOSE = "everything"

    @classmethod
    def of(cls, options: Options, *, quiet: bool = False) -> Talk:
        """What `--quiet` and `--verbose` ask for; *quiet*: another option does."""
        if quiet or getattr(options, "quiet", False):
            return cls.QUIET
        return cls.VERBOSE if options.verbose else cls.NORMAL


class Request(NamedTuple):
    """What names an experiment on a command line."""

    overrides: tuple[str, ...]
    requirements: tuple[str, ...]
    command: tuple[str, ...] | None
    config_dir: Path | None


def request_of(options: Options) -> Request:
    """What the EXPERIMENT arguments say. Raises ConfigError when they name no experiment."""
    if options.command == ():
        raise ConfigError("no command after `--`", hint="write it as `launch experiment=NAME -- python3 other.py`")
    request = Request(tuple(options.overrides), tuple(options.requirements), options.command, options.config_dir)
    if not has_experiment(request.overrides):
        raise ConfigError("no experiment was chosen", hint=_experiment_meant(request.overrides))
    return request


def has_experiment(overrides: Sequence[str]) -> bool:
    return any(override.lstrip("+").startswith("experiment=") for override in overrides)


def _experiment_meant(overrides: Sequence[str]) -> str:
    """A mistyped `experiment=`, if one of *overrides* looks like it."""
    from runtime.suggestions import closest

    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and closest(key.lstrip("+"), ["experiment"], cutoff=0.7):
            return f"did you mean `experiment={value}`?"
    return "name one, as in `experiment=digits`; `launch list` shows them all"

"""How the program was started, and the words that start it again in a container, for one job."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from typing import Any, Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from ._job import Job

_OURS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.run", "hydra.mode")
"""What is decided outside, or for each job anew."""


def started_as(task: TaskFunction) -> dict[str, str]:
    """The ways in which a job can be started, best first.

    - `file`, or `module` with -m: the program again;
    - `function`, as `package.module:name`. A console script lies beside Python, not in the project: a container may not have it;
    - `object`, its name: *task* is nothing that a name leads to (a callable object, a function in a function, of a notebook), and
      goes to the container as a pickle.
    """
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    module = str(getattr(task, "__module__", ""))
    has_name = inspect.isfunction(task) and task.__qualname__.isidentifier()
    ways = {}
    if spec is not None:
        name = _without(spec.name, ".__main__")
        if has_name or module.split(".")[0] in ("__main__", name.split(".")[0]):
            ways["module"] = name
    elif file is not None:
        ways["file"] = os.path.realpath(file)
    if has_name and module != "__main__":
        ways["function"] = f"{module}:{task.__name__}"
    if not has_name or not ways:
        ways["object"] = str(getattr(task, "__qualname__", type(task).__qualname__))
    return ways


def plugin_nodes(config: DictConfig) -> str:
    """The nodes of this program's launcher and sweeper, as JSON, for images that have not these plugins. What a configuration may
    override in their defaults (`override hydra/sweeper/sampler: random`) must be there, too."""
    chosen = OmegaConf.to_container(config.hydra.runtime.choices)  # as it stands: what each job chooses is `???` here
    assert isinstance(chosen, dict)
    choices = {str(group).partition("@")[0]: str(option) for group, option in chosen.items() if option}
    nodes: dict[str, Any] = {}
    for plugin in ("hydra/launcher", "hydra/sweeper"):
        below = {group: option for group, option in choices.items() if group.startswith(f"{plugin}/")}
        defaults = [{_without_start(group, f"{plugin}/"): option} for group, option in below.items()]
        own = OmegaConf.to_container(config.hydra[_without_start(plugin, "hydra/")])
        assert isinstance(own, dict)
        nodes[f"{plugin}/{choices[plugin]}"] = {**own, **({"defaults": [*defaults, "_self_"]} if defaults else {})}
        nodes.update({f"{group}/{option}": {} for group, option in below.items()})
    return json.dumps(nodes, default=str)


def job_request(job: Job, config: DictConfig) -> dict[str, Any]:
    """What the engine needs of *job*: its overrides to show, all arguments, and its parameters to record."""
    typed = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)  # `hydra.sweep.subdir=${hydra.job.num}` is text
    assert isinstance(typed, list)
    hydras = [text for text in typed if not _is_ours(text)]
    own = [text for text in job.overrides if not _is_ours(text)]
    arguments = [*_flags(config), *own, *hydras, f"hydra.job.num={job.number}"]
    return {"overrides": list(job.overrides), "arguments": arguments, "params": _params(own)}


def _flags(config: DictConfig) -> list[str]:
    """Where the configuration is. Paths are passed on as they were written: relative ones are those of the project."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    given, _ = parser.parse_known_args(sys.argv[1:])
    flags = {"--config-path": given.config_path, "--config-dir": given.config_dir, "--config-name": config.hydra.job.config_name}
    return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]


def _is_ours(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return any(key == ours or key.startswith((f"{ours}.", f"{ours}/")) for ours in _OURS)


def _params(overrides: Iterable[str]) -> dict[str, Any]:
    """`model.lr=0.1` as the parameter `model.lr`; a job is compared by what sets it apart."""
    parser = OverridesParser.create()
    params = {}
    for override in parser.parse_overrides(list(overrides)):
        if not override.is_delete() and not str(override.key_or_group).startswith("hydra"):
            value = override.value()
            simple = value is None or isinstance(value, (bool, int, float, str))
            params[str(override.key_or_group)] = value if simple else override.get_value_element_as_str()
    return params


def _without(text: str, end: str) -> str:
    return text[: -len(end)] if text.endswith(end) else text


def _without_start(text: str, start: str) -> str:
    return text[len(start) :] if text.startswith(start) else text

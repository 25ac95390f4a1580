"""How the program was started, and the words that start it again in a container, for one job."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from ._job import Job

_OURS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.run", "hydra.mode")
"""What is decided outside, or for each job anew."""


def started_as(task: TaskFunction) -> dict[str, str]:
    """`{file: /home/me/train.py}`, or `module` with -m. A console script lies beside Python, not in the project: its function
    is named as well, for a container that does not have the file."""
    main = sys.modules["__main__"]
    function = {"function": f"{task.__module__}:{task.__name__}"} if task.__module__ != "__main__" else {}
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return {"module": spec.name.removesuffix(".__main__"), **function}
    file = getattr(main, "__file__", None)
    return function if file is None else {"file": os.path.realpath(file), **function}


def plugin_nodes(config: DictConfig) -> str:
    """The nodes of this program's launcher and sweeper, as JSON, for images that have not these plugins. What a configuration may
    override in their defaults (`override hydra/sweeper/sampler: random`) must be there, too."""
    choices = {str(group).partition("@")[0]: str(option) for group, option in config.hydra.runtime.choices.items() if option}
    nodes: dict[str, Any] = {}
    for plugin in ("hydra/launcher", "hydra/sweeper"):
        below = {group: option for group, option in choices.items() if group.startswith(f"{plugin}/")}
        defaults = [{group.removeprefix(f"{plugin}/"): option} for group, option in below.items()]
        own = OmegaConf.to_container(config.hydra[plugin.removeprefix("hydra/")])
        assert isinstance(own, dict)
        nodes[f"{plugin}/{choices[plugin]}"] = {**own, **({"defaults": [*defaults, "_self_"]} if defaults else {})}
        nodes |= {f"{group}/{option}": {} for group, option in below.items()}
    return json.dumps(nodes, default=str)


def job_request(job: Job, config: DictConfig) -> dict[str, Any]:
    """What the engine needs of *job*: its overrides to show, all arguments, and its parameters to record."""
    hydras = [text for text in config.hydra.overrides.hydra if not _is_ours(text)]
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
            simple = value is None or isinstance(value, bool | int | float | str)
            params[str(override.key_or_group)] = value if simple else override.get_value_element_as_str()
    return params

"""A task that no name leads to, with its job's configuration, as a pickle for the container. It goes in only: what comes back is
JSON."""

from __future__ import annotations

import base64
import copy
import json
import sys
from typing import Any

from hydra.core.utils import JobRuntime
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.basecontainer import BaseContainer

from ._job import Job

_HYDRAS_RESOLVERS = ("now", "hydra", "python_version", "env")


def pickled(task: TaskFunction, job: Job, context: HydraContext) -> dict[str, str]:
    """`pickle`: a line of JSON (who can read it) and the pickle, as base64; or `no_pickle`: why there is none."""
    import cloudpickle

    head = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
    try:
        body = cloudpickle.dumps(
            {
                "task": task,
                "config": _without_plugins(job.config),
                "callbacks": context.callbacks,
                "resolvers": _own_resolvers(),
                "job_name": JobRuntime.instance().get("name"),
                "version_base": _version_base(),
            }
        )
    except Exception as error:  # whatever an object raises that will not be copied
        return {"no_pickle": f"{type(error).__name__}: {error}"}
    return {"pickle": base64.b64encode(json.dumps(head).encode() + b"\n" + body).decode()}


def _without_plugins(config: DictConfig) -> DictConfig:
    """The image need not have the classes of this program's launcher and sweeper."""
    plain = copy.deepcopy(config)
    with read_write(plain), open_dict(plain):
        for plugin in ("launcher", "sweeper"):
            plain.hydra[plugin] = OmegaConf.to_container(plain.hydra[plugin])
    return plain


def _own_resolvers() -> dict[str, Any]:
    """Those of the program: OmegaConf's and Hydra's are in the image."""
    found = BaseContainer._resolvers
    return {name: each for name, each in found.items() if not name.startswith("oc.") and name not in _HYDRAS_RESOLVERS}


def _version_base() -> str | None:
    try:
        from hydra.version import getbase
    except ImportError:  # Hydra 1.1 has one
        return None
    base = getbase()
    return str(base) if hasattr(base, "release") else None

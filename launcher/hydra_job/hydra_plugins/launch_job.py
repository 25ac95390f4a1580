"""Inside the container of a job: what Hydra lacks there, and how the job's result gets out.

The program's configuration may choose a launcher and a sweeper (`override hydra/sweeper: optuna`) and set their keys. The job
uses neither, and the image need not have them: their nodes, as the program had them outside, come in LAUNCH_HYDRA_NODES.

The result is JSON, `hydra_job.json` among the run's outputs: whoever reads it must not have to trust the container, so no
pickle. Nothing newer than Python 3.8.
"""

import json
import numbers
import os
import traceback
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.search_path_plugin import SearchPathPlugin

_BUILTIN = "builtins"


class AbsentNodes(SearchPathPlugin):
    """Stores the nodes that no plugin of the image has. Hydra asks for the search path once all plugins are there."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for place, node in json.loads(os.environ.get("LAUNCH_HYDRA_NODES", "{}")).items():
            group, _, name = place.rpartition("/")
            if not _has(group, name):
                ConfigStore.instance().store(group=group, name=name, node=node, provider="launch")


def _has(group: str, name: str) -> bool:
    try:
        return ConfigStore.instance().load(f"{group}/{name}.yaml") is not None
    except Exception:  # Hydra's own, whichever: there is none
        return False


class TellResult(Callback):
    """Writes down what the task function returned, or raised."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        result = _result_of(job_return) if job_return.status is JobStatus.COMPLETED else _failure_of(job_return._return_value)
        path = Path(os.environ["LAUNCH_OUTPUTS"], "hydra_job.json")
        path.write_text(json.dumps({"task_name": job_return.task_name, **result}))


def _result_of(job_return: JobReturn) -> "dict[str, Any]":
    try:
        value = json.loads(json.dumps(job_return.return_value, default=_plain))
    except (TypeError, ValueError):
        return {"status": "completed", "value": None, "lost": type(job_return.return_value).__name__}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
            metrics.write(json.dumps({"return_value": value}) + "\n")
    return {"status": "completed", "value": value}


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and torch, without importing either."""
    if isinstance(value, numbers.Real):
        return float(value)
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(type(value).__name__)


def _failure_of(error: BaseException) -> "dict[str, Any]":
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == _BUILTIN else f"{kind.__module__}.{kind.__qualname__}"
    trace = "".join(traceback.format_exception(kind, error, error.__traceback__))
    return {"status": "failed", "error": name, "message": str(error), "traceback": trace}

"""`hydra/launcher=launch`: the jobs of any `@hydra.main` program, each a run of launch in a container of its own.

    python train.py -m hydra/launcher=launch hydra.launcher.experiment=digits lr=0.1,0.01

Works with every sweeper. launch itself is a command (`_engine.py`), in whatever environment it is installed: it composes with
Hydra, too, and this process's Hydra is the program's. Hydra imports this module whenever it looks for plugins, so it is light;
what stands beside it begins with `_`, which Hydra leaves alone.
"""

# No `from __future__ import annotations`: Hydra executes the module before it is in `sys.modules`, and dataclasses look there for
# the meaning of annotations that are text.

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional, Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@dataclass
class LaunchConf:
    """`hydra.launcher`. What is null is as the experiment has it."""

    _target_: str = "hydra_plugins.launch_launcher.launcher.LaunchLauncher"
    experiment: Optional[str] = None
    """The launch experiment whose image, data, network, … the jobs get; its command is not used."""
    overrides: List[str] = field(default_factory=list)
    """Further overrides of the experiment, as after `launch`: ["image=cuda12", "network=host"]."""
    gpus: Any = None
    cpus: Any = None
    memory: Any = None
    timeout: Any = None
    """Of each job."""
    parallel: Optional[int] = None
    """At most so many side by side; null: as many as fit."""
    name: Optional[str] = None
    """Of the parent run."""
    python: str = "python3"
    """The image's Python."""


ConfigStore.instance().store(group="hydra/launcher", name="launch", node=LaunchConf, provider="launch")


class LaunchLauncher(Launcher):
    def __init__(
        self, experiment: Optional[str], python: str, parallel: Optional[int], name: Optional[str], **settings: Any
    ) -> None:
        self._experiment = experiment
        overrides = list(settings.pop("overrides") or ())
        asked = [f"{key}={value}" for key, value in settings.items() if value is not None]
        self._settings: dict[str, Any] = {"overrides": [f"experiment={experiment}", *asked, *overrides]}
        self._settings |= {"python": python, "parallel": parallel, "name": name}
        self._engine: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if not self._experiment:
            raise CompactHydraException(
                "error: `hydra.launcher.experiment` is not set: jobs get the image, GPUs, data, … of that launch experiment\n\n"
                "hint: `hydra.launcher.experiment=NAME`; `launch list` shows the experiments"
            )
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from . import _job

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs_in_words = f"{len(job_overrides)} job{'' if len(job_overrides) == 1 else 's'}"
        log.info(f"launch runs {jobs_in_words}, sweep output dir : {self._config.hydra.sweep.dir}")
        jobs = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
            jobs.append(_job.Job(number, tuple(overrides), _job.composed(self._context, self._config, overrides, number)))
        ended = self._run(jobs)
        assert len(ended) == len(jobs)
        return [_job.job_return(each, result) for each, result in zip(jobs, ended)]

    def _run(self, jobs: Sequence[Any]) -> Sequence[Any]:
        from . import _engine, _pickled, _program

        program = _program.started_as(self._task)
        requests = [_program.job_request(each, self._config) for each in jobs]
        if "object" in program:
            for request, job in zip(requests, jobs):
                request.update(_pickled.pickled(self._task, job, self._context))
        if self._engine is None:
            self._engine = _engine.Engine({**self._settings, "program": program, "nodes": _program.plugin_nodes(self._config)})
        return list(self._engine.run(requests))

"""One job as Hydra sees it: its configuration before, its JobReturn after."""

from __future__ import annotations

import builtins
import contextlib
import copy
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    number: int
    overrides: tuple[str, ...]
    config: DictConfig


def composed(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    """The configuration of the job, as every launcher composes it."""
    sweep_config: DictConfig = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(sweep_config):
        sweep_config.hydra.job.id = str(number)
        sweep_config.hydra.job.num = number
    return sweep_config


def job_return(job: Job, result: Mapping[str, Any]) -> JobReturn:
    """What the sweeper gets. *result*: the run's `outputs` and what `launch_job` wrote there."""
    outputs = Path(result["outputs"])
    with read_write(job.config.hydra.runtime), open_dict(job.config.hydra.runtime):
        job.config.hydra.runtime.output_dir = str(outputs)
        job.config.hydra.job.id = result["run_id"]
    returned = JobReturn(overrides=list(job.config.hydra.overrides.task), working_dir=str(outputs))
    singleton: Any = HydraConfig.instance()
    before = singleton.cfg
    singleton.set_config(job.config)
    try:
        _link(_place(job.config), outputs)
        returned.hydra_cfg = copy.deepcopy(singleton.cfg)
    finally:
        singleton.cfg = before
    task_config = copy.deepcopy(job.config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    returned.cfg = task_config
    returned.task_name = result.get("task_name") or job.config.hydra.job.name
    if result.get("status") == "completed":
        returned.status, returned.return_value = JobStatus.COMPLETED, result["value"]
        if "lost" in result:
            log.warning(f"job {job.number} returned a {result['lost']}, which is not data: its return value is lost")
    else:
        returned.status, returned.return_value = JobStatus.FAILED, _error(result)
    return returned


def _place(config: DictConfig) -> Path:
    """Where a launcher would have let the job write: `multirun/2026-01-31/12-00-00/0`."""
    return Path(str(OmegaConf.select(config, "hydra.sweep.dir")), str(OmegaConf.select(config, "hydra.sweep.subdir")))


def _link(place: Path, outputs: Path) -> None:
    """The run keeps its outputs; they are found at *place*, too, unless something of another sweep is there."""
    if place.is_symlink():
        place.unlink()
    if place.exists():
        log.warning(f"`{place}` exists: the job's outputs are in `{outputs}`")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outputs)


def _error(result: Mapping[str, Any]) -> Exception:
    """The exception of the job: of the same class when that is Python's own and takes a message, with its traceback as a note."""
    name, message = str(result["error"]), str(result["message"])
    kind = getattr(builtins, name, None) if name else None
    error: Exception = RuntimeError(f"{name}: {message}" if name else message)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # UnicodeDecodeError and its like take more
            error = kind(message)
    notes = [f"in run {result['run_id']} (`launch logs {result['run_id']}`)"]
    if result.get("traceback"):
        notes.append(str(result["traceback"]).rstrip())
    if sys.version_info >= (3, 11):
        for note in notes:
            error.add_note(note)
    else:
        log.error("\n".join([f"{type(error).__name__}: {message}", *notes]))
    return error

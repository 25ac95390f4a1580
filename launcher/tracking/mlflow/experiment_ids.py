"""Ids of MLflow experiments by name, remembered between runs. May be deleted at any time; a wrong one is noticed by the server.

For the local server the database's inode is part of the name: another database numbers its experiments anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher.tracking.mlflow.address import Address, LocalAddress
from launcher.tracking.mlflow.rest import Experiment
from launcher.tracking.record.json_object import json_object
from runtime.state_dir import RunDir, StateDir
from runtime.whole_file import replace_file


def recall(address: Address, name: str, *, near: RunDir) -> Experiment | None:
    """The experiment of that name, if an earlier run of this LAUNCH_HOME was in it."""
    found = json_object(_path(near)).get(_key(address, name))
    return None if found is None else Experiment(found, name)


def remember(address: Address, experiment: Experiment, *, near: RunDir) -> None:
    path, key = _path(near), _key(address, experiment.name)
    known = json_object(path)
    if known.get(key) == experiment.experiment_id:
        return
    replace_file(path, json.dumps({**known, key: experiment.experiment_id}))


def _key(address: Address, name: str) -> str:
    if not isinstance(address, LocalAddress):
        return f"{address.uri} {name}"
    try:
        return f"{os.stat(address.state_root / 'mlflow' / 'mlflow.db').st_ino} {name}"
    except FileNotFoundError:
        return f"- {name}"


def _path(run_dir: RunDir) -> Path:
    return StateDir(run_dir.root.parent.parent).cache / "mlflow-experiments.json"

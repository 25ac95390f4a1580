"""Delete a run in MLflow, as its UI does: it can be restored there until somebody runs `mlflow gc`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import describe
from launcher.tracking.mlflow.rest import Mlflow, MlflowRefused
from launcher.tracking.mlflow.sink import address_of
from runtime.state_dir import RunDir, StateDir


def delete_in_mlflow(run_dir: RunDir, *, environ: Mapping[str, str] = os.environ) -> bool:
    """False when MLflow has no such run. Raises LaunchError when it cannot be reached or refuses."""
    description = describe(run_dir)
    try:
        run_id = str(json.loads(run_dir.mlflow.read_bytes())["run_id"])
    except (FileNotFoundError, ValueError, KeyError):
        return False
    if description is None:
        return False
    address = address_of(run_dir, description, environ)
    if isinstance(address, LocalAddress):
        from launcher.tracking.mlflow.local_server import ensure_server

        ensure_server(StateDir(address.state_root))
    client = Mlflow(address, environ=environ)
    try:
        client.post("runs/delete", {"run_id": run_id})
    except MlflowRefused as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    finally:
        client.close()
    return True

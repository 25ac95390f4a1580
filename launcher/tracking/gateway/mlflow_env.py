"""The variables by which a program finds its MLflow run (docs/experiment-contract.md). On every launch's way: imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def program_env(mlflow: Mapping[str, Any], port: int, token: str) -> dict[str, str]:
    """What the program needs to log to its run: MLflow's own variables, none of the launcher's credentials."""
    return {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": str(mlflow["run_id"]),
        # Without it a nested or second `start_run()` lands in experiment 0.
        "MLFLOW_EXPERIMENT_ID": str(mlflow["experiment_id"]),
        # The gateway answers at once; MLflow's default is 7 retries, about 4 minutes.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        # The launcher samples from outside, with names of the leased GPUs only.
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
        # The gateway's address means nothing outside the run; the launcher prints the run's own.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # MLflow looks for git, which images rarely have, and says so in 15 lines. The launcher has recorded the revision.
        "GIT_PYTHON_REFRESH": "quiet",
    }

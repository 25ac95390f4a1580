"""A training that knows MLflow: what it needs of launch are the places that it writes to."""

import json
import math
import os
import sys
import time
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

WEIGHTS = bytes(range(256)) * 4096


def refused(call, *arguments) -> str:
    """What MLflow says to a call that must fail."""
    try:
        call(*arguments)
    except MlflowException as error:
        return str(error)
    raise AssertionError(f"{call} was not refused")


def log_to_own_run(own: str) -> str:
    with mlflow.start_run() as run:
        assert run.info.run_id == own, run.info
        mlflow.log_param("lr", 0.2)  # the launcher has logged 0.1
        mlflow.log_params({"opt.layers": "3,4", "depth": 3})
        assert "depth" in refused(mlflow.log_param, "depth", 4)
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("broken", math.nan, step=1)
        mlflow.set_tags({"mine": "yes", "launch.seed": "77"})
        mlflow.log_text("hello", "notes/hello.txt")
        Path("/tmp/weights.bin").write_bytes(WEIGHTS)
        mlflow.log_artifact("/tmp/weights.bin", "model")
        kept = mlflow.artifacts.download_artifacts(run_id=own, artifact_path="model/weights.bin")
        assert Path(kept).read_bytes() == WEIGHTS
        points = mlflow.MlflowClient().get_metric_history(own, "loss")
        assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 1 / 2), (2, 1 / 3)]
        with mlflow.start_run(run_name="fold", nested=True) as fold:
            mlflow.log_metric("inner", 5)
        return fold.info.run_id


def everything() -> None:
    own = os.environ["MLFLOW_RUN_ID"]
    mlflow.set_experiment("a name of the program's own")
    fold = log_to_own_run(own)
    with mlflow.start_run(run_name="second") as second:  # MLflow attaches to MLFLOW_RUN_ID once
        mlflow.log_metric("second_loss", 2)
    with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
        metrics.write(json.dumps({"step": 4, "from_file": 3.5}) + "\n")
    found = {run.info.run_id for run in mlflow.search_runs(output_format="list")}
    assert found == {own, fold, second.info.run_id}, found
    client, other = mlflow.MlflowClient(), os.environ["OTHER_RUN"]
    assert "not this run's" in refused(client.get_run, other)
    assert "not this run's" in refused(client.log_metric, other, "loss", 1.0)
    refused(client.delete_run, own)


def main(how: str) -> None:
    Path(os.environ["LAUNCH_OUTPUTS"], "result.txt").write_text("42\n")
    print("on stderr", file=sys.stderr)
    if how == "everything":
        everything()
        return
    mlflow.log_metric("loss", 1.0, step=0)
    if how == "fail":
        raise SystemExit(3)
    if how == "eat":
        hoard = []
        while True:
            hoard.append(bytearray(16 << 20))
    print("ready", flush=True)
    for step in range(1, 6000 if how == "long" else 1):
        time.sleep(0.1)
        mlflow.log_metric("loss", 1.0 / step, step=step)


if __name__ == "__main__":
    main(sys.argv[1])

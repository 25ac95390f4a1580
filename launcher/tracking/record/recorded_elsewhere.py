"""A run that another machine recorded, from MLflow alone: its artifacts and metrics as a run directory below the cache.

What is made here has the form of a run's own directory, so that whoever reads records (`record.fold`, a comparison) reads this.
Outputs stay where they are; the record has their digests. Nothing of it is trusted: the paths are ours, the plan has to be one
that launch takes, and the one that the run was started with, as far as the server's tags say so, which others can change. What
the program of a plan that fits will get is said and asked about later (`launcher.run.grants`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.config.amend import amend
from launcher.config.spec import ExperimentSpec, from_json
from launcher.errors import ConfigError, LaunchError
from launcher.tracking.metrics.metric_log import metric
from launcher.tracking.mlflow.address import parse_uri
from launcher.tracking.mlflow.artifacts import artifact_root, is_proxied
from launcher.tracking.mlflow.rest import Mlflow, MlflowRefused
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.oci.digest import digest_bytes
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir

_NEEDED = ("plan.json", "journal.jsonl")
_HELPFUL = ("code.tar", "outputs.json", "sbom.json")
"""A run without code has no code.tar; older records lack more."""


def fetch_record(uri: str, mlflow_run_id: str, *, state: StateDir, environ: Mapping[str, str]) -> RunRecord:
    """The record of what the server at *uri* knows as *mlflow_run_id*. Raises LaunchError when it lacks what is needed."""
    client = Mlflow(parse_uri(uri, environ=environ), environ=environ)
    run = _find_run(client, mlflow_run_id, uri)
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    run_id = tags.get("launch.run_id", "")
    if re.fullmatch(r"[0-9a-f]{6,32}", run_id) is None:
        hint = "it has no tag `launch.run_id`"
        raise ConfigError(f"MLflow run `{mlflow_run_id}` of `{uri}` was not recorded by launch", hint=hint)
    if not is_proxied(run["info"]):
        message = f"`{uri}` does not hand out artifacts itself; they are in `{run['info'].get('artifact_uri')}`"
        raise LaunchError(message, hint="a server started with `mlflow server --serve-artifacts` does")
    run_dir = _empty_directory(RunDir(state.cache / "recorded" / mlflow_run_id / run_id))
    root = artifact_root(run["info"])
    for name in _NEEDED:
        try:
            client.get_artifact(f"{root}/launch/{name}", run_dir.root / name)
        except MlflowRefused as error:
            message = f"MLflow run `{mlflow_run_id}` has no artifact `launch/{name}`, without which nobody can run it again"
            raise LaunchError(message, hint="its artifacts were off (`tracking.artifacts`), or have not arrived yet") from error
    _refuse_another_plan(run_dir, tags, mlflow_run_id)
    for name in _HELPFUL:
        try:
            client.get_artifact(f"{root}/launch/{name}", run_dir.root / name)
        except MlflowRefused:
            continue
    _write_metrics(client, run, run_dir)
    record = fold(run_dir)
    if record is None:
        raise LaunchError(f"the journal of MLflow run `{mlflow_run_id}` cannot be read")
    return record


_DIGESTS = ("plan_digest", "code_digest", "lock_digest", "spec_digest", "image_digest")
"""Tags that no run's program can write. Older records lack the first."""


def _refuse_another_plan(run_dir: RunDir, tags: Mapping[str, str], mlflow_run_id: str) -> None:
    """Raises LaunchError unless the plan is the one that the run was started with, and has values as launch writes them."""
    content = run_dir.plan.read_bytes()
    try:
        document = json.loads(content)
        plan = document["plan"]
        found = {
            "plan_digest": str(digest_bytes(content)),
            "code_digest": plan["code"]["digest"],
            "lock_digest": plan["lock"] and plan["lock"]["digest"],
            "spec_digest": plan["spec_digest"],
            "image_digest": document["image_digest"],
        }
        spec = from_json(ExperimentSpec, plan["spec"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LaunchError(f"the plan of MLflow run `{mlflow_run_id}` cannot be read: {type(error).__name__}: {error}") from error
    for name in _DIGESTS:
        told = tags.get(f"launch.{name}")
        if told is not None and told != found[name]:
            words = f"its {name.replace('_', ' ')} is `{found[name]}`, and the run was started with `{told}`"
            hint = "somebody has put another one in its place: its program (launch let that happen once), or who may write there"
            raise LaunchError(f"`launch/plan.json` of MLflow run `{mlflow_run_id}` does not fit: {words}", hint=hint)
    try:
        amend(spec, (), cwd=Path("/"))
    except ConfigError as error:
        raise LaunchError(f"the plan of MLflow run `{mlflow_run_id}` is none of launch's: {error.message}") from error


def _find_run(client: Mlflow, run_id: str, uri: str) -> dict[str, Any]:
    try:
        answer = client.get("runs/get", run_id=run_id)
    except MlflowRefused as error:
        if error.code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        hint = "the MLflow run id stands in the address of the run's page"
        raise ConfigError(f"`{uri}` knows no run `{run_id}`", hint=hint) from None
    with answer.understood():
        run = answer["run"]
        return {"info": dict(run["info"]), "data": dict(run["data"])}


def _empty_directory(run_dir: RunDir) -> RunDir:
    """What was fetched before may be older than what the server has now."""
    if run_dir.root.is_dir():
        remove_tree(run_dir.root)
    run_dir.root.mkdir(mode=0o700, parents=True)
    return run_dir


def _write_metrics(client: Mlflow, run: Mapping[str, Any], run_dir: RunDir) -> None:
    names = [each["key"] for each in run["data"].get("metrics", []) if not each["key"].startswith("system/")]
    with run_dir.logged.open("w") as lines:
        for name in names:
            for point in _history(client, run["info"]["run_id"], name):
                at_ms = int(point["timestamp"])
                entry = metric(name, float(point["value"]), step=int(point.get("step", 0)), time_ms=at_ms)
                lines.write(json.dumps(entry) + "\n")


def _history(client: Mlflow, run_id: str, name: str) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        more = {"page_token": token} if token else {}
        page = client.get("metrics/get-history", run_id=run_id, metric_key=name, max_results="25000", **more)
        yield from page.get("metrics", [])
        token = page.get("next_page_token", "")
        if not token:
            return


def looks_like_mlflow_run(reference: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", reference) is not None

"""What MLflow says of the runs of a LAUNCH_HOME, held against their journals and files: status, ends, points, artifacts.

    python tests/mlflow_comparison.py [LAUNCH_HOME]      one line for each thing that is not so; exit code 1 when there is any

It asks the server by plain REST and reads the runs' own files, with nothing of what sends them. Not compared, and that is all:

- runs that are not tracked, and those that somebody deleted in MLflow;
- what MLflow refused for good, or was not to have (`outputs.max_size`), where the run says so in `tracker.json`;
- the journal's artifact may lack the lines that came after it was sent, but not the `finished` one;
- which outputs were chosen, where `outputs.keep` is not everything: then those that MLflow has are compared, by digest;
- `code.tar` and `requirements.lock` where the run's directory has none either (a layer that has left the store, no requirements).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.tracking.mlflow import local_server
from launcher.tracking.mlflow.address import LocalAddress, parse_uri
from launcher.tracking.mlflow.artifacts import artifact_root
from launcher.tracking.mlflow.rest import Mlflow, MlflowRefused
from launcher.tracking.record.regular_files import regular_files
from runtime.json_files import json_object
from runtime.oci.digest import digest_file
from runtime.state_dir import RunDir, StateDir, state_dir

Point = tuple[int, int, str]
"""Step, time in milliseconds, value as text (NaN is not equal to itself)."""

_ALWAYS_THERE = (
    "launch/spec.yaml",
    "launch/plan.json",
    "launch/outputs.json",
    "launch/journal.jsonl",
    "logs/stdout.txt",
    "logs/stderr.txt",
)


def untruths_of_mlflow(state: StateDir, run_ids: Iterable[str] | None = None) -> list[str]:
    """What MLflow says of these runs (None: of all) and is not so; empty when everything is."""
    ids = sorted(path.name for path in state.runs.iterdir()) if run_ids is None else list(run_ids)
    return [f"{run_id}: {words}" for run_id in ids for words in _untruths_of(state.run(run_id))]


@dataclass(frozen=True)
class _Compared:
    run_dir: RunDir
    run: RunState
    tracking: dict[str, Any]
    """`tracking` of its specification, or of a sweep's description."""
    client: Mlflow
    known: dict[str, Any]
    """The run as MLflow has it."""

    @property
    def tracker(self) -> dict[str, Any]:
        return json_object(self.run_dir.tracker_state)


def _untruths_of(run_dir: RunDir) -> Iterator[str]:
    run = read_state(run_dir.journal)
    tracking = _tracking_of(run_dir)
    if run.created is None or tracking is None:
        return
    uri = tracking.get("uri")
    if uri is None:
        local_server.ui(run_dir.state)  # it may have ended, or been killed
    client = Mlflow(LocalAddress(run_dir.state.root) if uri is None else parse_uri(uri))
    try:
        found = _runs_in_mlflow(client, run_dir, tracking)
        active = [each for each in found if each["info"].get("lifecycle_stage") != "deleted"]
        if found and not active:
            return
        if len(active) != 1:
            yield f"MLflow has {len(active)} runs of it"
            return
        compared = _Compared(run_dir, run, tracking, client, active[0])
        yield from _untrue_ends(compared)
        yield from _untrue_points(compared)
        if run.is_over:
            yield from _untrue_artifacts(compared)
    finally:
        client.close()


def _tracking_of(run_dir: RunDir) -> dict[str, Any] | None:
    if of_sweep := json_object(run_dir.tracking):
        return of_sweep
    plan = json_object(run_dir.plan).get("plan", {})
    tracking = plan.get("spec", {}).get("tracking")
    if tracking is None:
        return None
    return {"experiment": plan["spec"]["name"], **{name: value for name, value in tracking.items() if value is not None}}


def _runs_in_mlflow(client: Mlflow, run_dir: RunDir, tracking: dict[str, Any]) -> list[dict[str, Any]]:
    """Each run that calls itself this one: a run that was created twice is there twice."""
    try:
        experiment = client.get("experiments/get-by-name", experiment_name=tracking["experiment"])["experiment"]
    except MlflowRefused:
        return []
    wanted = {
        "experiment_ids": [experiment["experiment_id"]],
        "filter": f"tags.`launch.run_id` = '{run_dir.run_id}'",
        "run_view_type": "ALL",
    }
    return list(client.post("runs/search", wanted).get("runs", []))


def _untrue_ends(compared: _Compared) -> Iterator[str]:
    run, info = compared.run, compared.known["info"]
    tags = {tag["key"]: tag["value"] for tag in compared.known["data"].get("tags", [])}
    status, end_ms = run.status
    if info["status"] != status and (run.is_over or info["status"] not in ("RUNNING", "SCHEDULED")):
        yield f"MLflow says {info['status']}, the journal {status}"
    if run.finished is None:
        return
    said = (tags.get("launch.reason"), tags.get("launch.exit_code"), int(info.get("end_time") or 0))
    written = (run.finished.reason, str(run.finished.exit_code), end_ms)
    if said != written:
        yield f"MLflow says that it ended as {said}, the journal {written}"


def _untrue_points(compared: _Compared) -> Iterator[str]:
    """Each point once, with its value; and nothing else."""
    for name, written in _written_points(compared.run_dir).items():
        known = _history(compared, name)
        if known != written:
            lacks, has = written - known, known - written
            yield f"MLflow lacks {_words(lacks)} of the {written.total()} of `{name}`, and has {_words(has)} too many"
    reported = _steps_in_metrics_file(compared.run_dir)
    for name, steps in reported.items():
        if missing := steps - Counter(step for step, _, _ in _history(compared, name)):
            yield f"MLflow lacks {missing.total()} of the {steps.total()} points that the program wrote of `{name}`"


def _written_points(run_dir: RunDir) -> dict[str, Counter[Point]]:
    points: dict[str, Counter[Point]] = {}
    for entry in _json_lines(run_dir.logged):
        if "key" in entry:
            point = (int(entry["step"]), int(entry["time"]), str(float(entry["value"])))
            points.setdefault(entry["key"], Counter())[point] = 1  # MLflow keeps one that is sent twice once
    for number, sample in enumerate(_json_lines(run_dir.system_metrics)):
        for name, value in sample.items():
            if name != "time":
                point = (number, int(sample["time"] * 1000), str(float(value)))
                points.setdefault(f"system/{name}", Counter())[point] = 1
    return points


def _steps_in_metrics_file(run_dir: RunDir) -> dict[str, Counter[int]]:
    """Of the lines that name a step: what the program wrote itself, before anybody of ours took it in."""
    steps: dict[str, Counter[int]] = {}
    for line in _json_lines(run_dir.metrics):
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            for name, value in line.items():
                if name not in ("step", "time") and isinstance(value, int | float) and not isinstance(value, bool):
                    steps.setdefault(name, Counter())[line["step"]] += 1
    return steps


def _history(compared: _Compared, name: str) -> Counter[Point]:
    points: Counter[Point] = Counter()
    more: dict[str, str] = {}
    while True:
        answer = compared.client.get("metrics/get-history", run_id=compared.known["info"]["run_id"], metric_key=name, **more)
        for point in answer.get("metrics", []):
            points[int(point.get("step", 0)), int(point["timestamp"]), str(float(point["value"]))] += 1
        if not answer.get("next_page_token"):
            return points
        more = {"page_token": answer["next_page_token"]}


def _untrue_artifacts(compared: _Compared) -> Iterator[str]:
    if not compared.tracking.get("artifacts", True):
        return
    run_dir, excused = compared.run_dir, json.dumps(compared.tracker.get("refused", []) + compared.tracker.get("notes", []))
    there = set(_artifact_paths(compared, ""))
    expected = _expected_artifacts(run_dir)
    for path in sorted({*expected, *_ALWAYS_THERE} - there):
        if path not in excused and "outputs.max_size" not in excused:
            yield f"MLflow lacks the artifact `{path}`"
    with tempfile.TemporaryDirectory() as directory:
        for path in sorted(set(expected) & there):
            copy = Path(directory, "artifact")
            compared.client.get_artifact(f"{artifact_root(compared.known['info'])}/{path}", copy)
            if path == "launch/journal.jsonl":
                sent, whole = copy.read_bytes(), expected[path].read_bytes()
                if not whole.startswith(sent) or b'"event":"finished"' not in sent.replace(b" ", b""):
                    yield "the journal in MLflow is not the run's"
            elif digest_file(copy) != digest_file(expected[path]):
                yield f"the artifact `{path}` is not what the run has"


def _expected_artifacts(run_dir: RunDir) -> dict[str, Path]:
    """Path in MLflow → the file that should be there."""
    own = ("spec.yaml", "plan.json", "requirements.lock", "sbom.json", "code.tar", "outputs.json", "journal.jsonl")
    files = {f"launch/{name}": run_dir.root / name for name in own}
    files |= {"logs/stdout.txt": run_dir.stdout, "logs/stderr.txt": run_dir.stderr}
    outputs = json_object(run_dir.plan).get("plan", {}).get("spec", {}).get("outputs") or {}
    if outputs.get("keep", ["**"]) == ["**"]:
        files |= dict(regular_files(run_dir.outputs))
    return {path: file for path, file in files.items() if file.is_file()}


def _artifact_paths(compared: _Compared, below: str) -> Iterator[str]:
    listed = compared.client.get("artifacts/list", run_id=compared.known["info"]["run_id"], path=below)
    for file in listed.get("files", []):
        if file.get("is_dir"):
            yield from _artifact_paths(compared, file["path"])
        else:
            yield file["path"]


def _json_lines(path: Path) -> Iterator[Any]:
    """Whole lines, of them those that are JSON: a program may write anything, and be killed while it does."""
    content = path.read_bytes() if path.exists() else b""
    for line in content.split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _words(points: Counter[Point]) -> str:
    return f"{points.total()} points{f' ({next(iter(points))}, …)' if points else ''}"


def main() -> int:
    state = StateDir(Path(sys.argv[1]).absolute()) if sys.argv[1:] else state_dir()
    found = untruths_of_mlflow(state)
    print("\n".join(found) or "MLflow says what the journals say")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

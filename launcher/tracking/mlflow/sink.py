"""Bring MLflow up to what the run's directory says. Every step may be repeated; `push` goes on where the last one stopped.

The source is files only: journal, `logged.jsonl`, `system.jsonl`, outputs, logs. So the same code serves a living run (the
tracker calls it again and again), a run that MLflow missed altogether, and one whose tracker was killed (`sync.py`). Nothing is
logged twice: params and tags are sent once, a metric carries its time, a run is looked for before it is created again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.journal.status import RunStatus
from launcher.journal.superseded import Watch
from launcher.tracking import tracker_state
from launcher.tracking.metrics.metric_log import metric, read_slice
from launcher.tracking.mlflow import artifacts
from launcher.tracking.mlflow.address import Address, LocalAddress, parse_uri
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import Description, current_tags, parent_is_coming, parent_tag
from launcher.tracking.mlflow.rest import (
    TAG_MAX,
    Batch,
    CreatedRun,
    Experiment,
    Mlflow,
    MlflowRefused,
    batches,
    fitting_key,
    fitting_value,
    param_entries,
    tag_entries,
)
from launcher.tracking.record.run_nodes import node_directories
from runtime.json_files import json_object
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file

_REFUSED_KEPT = 20
_NOTE_FILES_S = 0.5

# Refusals that say nothing about the request itself: later, with other credentials or a restored run, it may pass.
_ABOUT_THE_RUN = frozenset({401, 403, 404, 407})


class ParentIsComing(MlflowUnreachable):
    """The run is a trial of a sweep that is to be created first."""


class Sink:
    """One run's way to MLflow. `push` may be called by one thread at a time; `lock` is for those who share it."""

    def __init__(
        self,
        run_dir: RunDir,
        description: Description,
        *,
        timeout_s: float = 10.0,
        environ: Mapping[str, str] = os.environ,
        watch: Watch | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.description = description
        self.address = address_of(run_dir, description, environ)
        self.client = Mlflow(self.address, timeout_s=timeout_s, environ=environ, watch=watch)
        self.state = tracker_state.load(run_dir)
        self.lock = threading.RLock()
        self._taking = threading.Lock()
        self.run: dict[str, Any] = json_object(run_dir.mlflow)

    @property
    def may_begin_late(self) -> bool:
        """Whether nobody needs the run's id, and a run that ends within a moment may be sent whole. A sweep's own run, which has
        no plan, is waited for by its trials."""
        return not self.run and not self.description.may_use_mlflow and self.run_dir.plan.exists()

    def create(self) -> dict[str, Any]:
        """The MLflow run, created when there is none. Returns what stands in `mlflow.json`."""
        if self.run:
            return self.run
        self._wait_for_parent()
        found = self._look_for_run() if self.state.creating else None
        if found is None:
            self._note(creating=True)
            found = self._create_in_known_experiment() or self._create_in(self.client.experiment(self.description.experiment))
        self._publish(self._run_document(*found))
        self._note(creating=False)
        return self.run

    def push(self) -> None:
        """Send everything that is new, but for files. Raises MlflowUnreachable (try again later) or MlflowRefused (about the run
        itself)."""
        with self.lock:
            self.create()
            run = read_state(self.run_dir.journal)
            self._push_news(run)
            self._push_datasets()
            self.push_logged()
            self._push_system()
            status, end_ms = run.status
            if status.is_final:
                self._end_children(status, end_ms)
            self._push_status(status, end_ms)

    def push_files(self) -> None:
        """Send the files that are new. After `push`: a run whose files cannot be sent, or take long, has ended all the same.

        Raises what `push` does, and LaunchError when there is no room for a file.
        """
        with self.lock:
            status, end_ms = read_state(self.run_dir.journal).status
            if not status.is_final:
                self._push_spooled()
            elif not self.is_complete():
                self._push_artifacts()
                self._note(artifacts_sent_for=end_ms, failure="", is_given_up=False)

    def push_logged(self) -> None:
        """Send what the program reported."""
        with self.lock:
            while True:
                entries, end = read_slice(self.run_dir.logged, self.state.logged)
                if end == self.state.logged:
                    return
                self._send(batches(entries))
                self._note(logged=end)

    def is_complete(self) -> bool:
        """Whether MLflow knows the end of the run and everything before it."""
        return tracker_state.is_complete(self.state, *read_state(self.run_dir.journal).status)

    def add_child(self, run_id: str) -> None:
        with self.lock:
            self.state.children = {run_id: False, **self.state.children}  # another one: the gateway may be going through it
            self._note()

    def end_child(self, run_id: str) -> None:
        with self.lock:
            self.state.children = {**self.state.children, run_id: True}
            self._note()

    def take(self) -> bool:
        """Whether the program takes the run up now. Without `lock`, which a slow server holds up, and the program waits."""
        with self._taking:
            if self.state.is_taken:
                return False
            self.state.is_taken = True
        with suppress(OSError):  # a full disk; each answer of MLflow writes it again
            tracker_state.save(self.run_dir, self.state)
        return True

    def add_model(self, model_id: str) -> None:
        with self.lock:
            if model_id not in self.state.models:
                self.state.models.append(model_id)
                self._note()

    def refused(self, words: str) -> None:
        """Remember what MLflow would not take."""
        if len(self.state.refused) < _REFUSED_KEPT and words not in self.state.refused:
            self.state.refused.append(words)

    def _wait_for_parent(self) -> None:
        if parent_is_coming(self.run_dir, read_state(self.run_dir.journal)):
            raise ParentIsComing("the sweep's own run is not in MLflow yet")

    def _tags(self, run: RunState) -> dict[str, str]:
        """All tags of the run, as MLflow takes them."""
        tags = {**self.description.tags, **current_tags(run), **parent_tag(self.run_dir, run, uri=self.description.uri)}
        return {fitting_key(key): fitting_value(value, TAG_MAX) for key, value in tags.items()}

    def _new_tags(self, run: RunState) -> dict[str, str]:
        """Those that MLflow doesn't know yet."""
        return {key: value for key, value in self._tags(run).items() if self.state.tags.get(key) != value}

    def _create_in_known_experiment(self) -> tuple[Experiment, CreatedRun] | None:
        """The experiment's id is remembered from earlier runs: one request fewer before the program starts."""
        known = recall_experiment(self.address, self.description.experiment, near=self.run_dir)
        if known is None:
            return None
        try:
            return self._create_in(known)
        except MlflowRefused:
            return None  # deleted meanwhile, or another database: asking for it by name says what is wrong

    def _create_in(self, experiment: Experiment) -> tuple[Experiment, CreatedRun]:
        tags = self._tags(read_state(self.run_dir.journal))
        created = self.client.create_run(
            experiment.experiment_id,
            name=fitting_value(self.description.run_name, 250),
            start_ms=self.description.start_ms,
            tags=tags,
            user=self.description.user,
        )
        self.state.tags = tags
        # MLflow starts every run as RUNNING.
        self.state.status = RunStatus.RUNNING.value
        remember_experiment(self.address, experiment, near=self.run_dir)
        return experiment, created

    def _look_for_run(self) -> tuple[Experiment, CreatedRun] | None:
        experiment = self.client.experiment(self.description.experiment)
        marks = {"launch.run_id": self.run_dir.run_id}
        found = self.client.find_run(experiment.experiment_id, tags=marks, start_ms=self.description.start_ms)
        if found is None:
            return None
        self.state.status = RunStatus.RUNNING.value
        return experiment, found

    def _run_document(self, experiment: Experiment, created: CreatedRun) -> dict[str, Any]:
        return {
            "tracking_uri": self.description.uri,
            "ui_uri": _ui_uri(self.run_dir) if isinstance(self.address, LocalAddress) else self.description.uri,
            "experiment_id": experiment.experiment_id,
            "experiment": experiment.name,
            "run_id": created.run_id,
            "artifact_uri": created.artifact_uri,
        }

    def _publish(self, run: dict[str, Any]) -> None:
        self.run = run
        replace_file(self.run_dir.mlflow, json.dumps(self.run))

    def _push_news(self, run: RunState) -> None:
        """Params, tags that have changed and the first of what the program reported, in one request where it can be one: a
        trial of a sweep is short, and the server takes its time for each."""
        new = self._new_tags(run)
        params = {} if self.state.params_sent else self.description.params
        entries, end = read_slice(self.run_dir.logged, self.state.logged)
        self._send(batches([*param_entries(params), *tag_entries(new), *entries]))
        if params or new or end != self.state.logged:
            self._note(params_sent=True, tags={**self.state.tags, **new}, logged=end)

    def _push_datasets(self) -> None:
        if self.state.datasets_sent or not self.description.datasets:
            return
        try:
            self.client.post("runs/log-inputs", {"run_id": self.run["run_id"], "datasets": self.description.datasets})
        except MlflowRefused as error:
            self.refused(error.message)  # a server older than datasets (MLflow 2.4): the tags have their digests, too
        self._note(datasets_sent=True)

    def _push_system(self) -> None:
        while True:
            samples, end = read_slice(self.run_dir.system_metrics, self.state.system)
            if end == self.state.system:
                return
            self._send(batches(self._system_entries(samples)))
            self._note(system=end, system_samples=self.state.system_samples + len(samples))

    def _system_entries(self, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entries = []
        for number, sample in enumerate(samples, self.state.system_samples):
            at_ms = int(sample["time"] * 1000)
            entries += [
                metric(f"system/{name}", float(value), step=number, time_ms=at_ms)
                for name, value in sample.items()
                if name != "time"
            ]
        return entries

    def _push_spooled(self) -> None:
        if artifacts.is_proxied(self.run):
            self._send_files(list(artifacts.spooled(self.run_dir, sent=self.state.files)))

    def _push_artifacts(self) -> None:
        state = self.state
        uploaded = sum(state.uploaded.values())
        waiting = artifacts.pending(self.run_dir, self.description, sent=state.files, refused=self.refused, uploaded=uploaded)
        self._send_files(list(waiting))

    def _send_files(self, waiting: list[artifacts.Upload]) -> None:
        """One that is sent again because we were killed in between is the same file: not each is worth a note of its own."""
        sent: dict[str, list[int]] = {}
        noted = time.monotonic()
        try:
            for upload in artifacts.send(self.client, self.run, waiting):
                sent[upload.path] = upload.stamp
                if time.monotonic() - noted > _NOTE_FILES_S:
                    self._note(files={**self.state.files, **sent})
                    noted = time.monotonic()
                artifacts.forget_spooled(self.run_dir, upload)
        finally:
            if sent:
                self._note(files={**self.state.files, **sent})

    def _end_children(self, status: RunStatus, end_ms: int | None) -> None:
        """Runs that the program opened, on whichever node, and did not end: with their parent gone nobody else will."""
        for node in node_directories(self.run_dir)[1:]:
            for run_id, ended in tracker_state.load(node).children.items():
                self.state.children.setdefault(run_id, ended)
        for run_id in [run_id for run_id, ended in self.state.children.items() if not ended]:
            try:
                self.client.update_run(run_id, status=status.value, end_ms=end_ms)
            except MlflowRefused as error:
                self.refused(error.message)
            self.end_child(run_id)

    def _push_status(self, status: RunStatus, end_ms: int | None) -> None:
        if (self.state.status, self.state.end_ms) == (status.value, end_ms):
            return
        self.client.update_run(self.run["run_id"], status=status.value, end_ms=end_ms)
        self._note(status=status.value, end_ms=end_ms)

    def _send(self, requests: Iterable[Batch]) -> None:
        for batch in requests:
            try:
                self.client.post(*batch.request(self.run["run_id"]))
            except MlflowRefused as error:
                if error.status in _ABOUT_THE_RUN and not (error.status == 404 and self._is_there()):
                    raise
                # One bad entry fails the whole batch: send each alone, and leave out only those that are refused.
                singles = list(batch.singles())
                if len(singles) > 1:
                    self._send(singles)
                else:
                    self.refused(error.message)

    def _is_there(self) -> bool:
        """Whether the server knows the run: then it missed something else (the tag that a program deletes, say)."""
        try:
            self.client.get("runs/get", run_id=self.run["run_id"])
        except MlflowRefused:
            return False
        return True

    def _note(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.state, name, value)
        tracker_state.save(self.run_dir, self.state)


def address_of(run_dir: RunDir, description: Description, environ: Mapping[str, str] = os.environ) -> Address:
    """Where the run is tracked."""
    if description.uri is None:
        return LocalAddress(run_dir.state.root)
    return parse_uri(description.uri, environ=environ)


def _ui_uri(run_dir: RunDir) -> str | None:
    from launcher.tracking.mlflow.local_server import ui_url

    return ui_url(run_dir.state)


def recall_experiment(address: Address, name: str, *, near: RunDir) -> Experiment | None:
    """The experiment of that name, if an earlier run of this LAUNCH_HOME was in it. What is remembered may be deleted at any
    time; a wrong id is noticed by the server."""
    found = _known_experiments(near).get(_experiment_key(address, name))
    return None if found is None else Experiment(found, name)


def remember_experiment(address: Address, experiment: Experiment, *, near: RunDir) -> None:
    known, key = _known_experiments(near), _experiment_key(address, experiment.name)
    if known.get(key) == experiment.experiment_id:
        return
    with suppress(OSError):  # a full disk, or a directory that is not ours: the next run asks
        replace_file(_experiment_ids(near), json.dumps({**known, key: experiment.experiment_id}))


def _known_experiments(near: RunDir) -> dict[str, Any]:
    try:
        return json_object(_experiment_ids(near))
    except PermissionError:  # root has launched something here
        return {}


def _experiment_key(address: Address, name: str) -> str:
    if not isinstance(address, LocalAddress):
        return f"{address.uri} {name}"
    # Another database numbers its experiments anew.
    try:
        return f"{os.stat(address.state_root / 'mlflow' / 'mlflow.db').st_ino} {name}"
    except FileNotFoundError:
        return f"- {name}"


def _experiment_ids(run_dir: RunDir) -> Path:
    return run_dir.state.cache / "mlflow-experiments.json"

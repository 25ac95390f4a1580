"""The sink of runs in the local server, which takes all that is new of a run in one request (`run_endpoint.py`).

A trial of a moment is one such request, sent when it has ended. The run's id is ours from the start, so that asking twice is
asking once. What the request can't say (inputs, models), what the server refuses to take so, and a server of an older launch go
the way of every other server: `sink.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.journal.status import RunStatus
from launcher.journal.superseded import Watch
from launcher.tracking import tracker_state
from launcher.tracking.metrics.metric_log import SLICE, read_slice
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.rest import (
    Batch,
    CreatedRun,
    Experiment,
    MlflowRefused,
    fitting_value,
    one_batch,
    param_entries,
    tag_entries,
)
from launcher.tracking.mlflow.sink import Sink, address_of, recall_experiment, remember_experiment
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir

_FULL_SLICE = SLICE // 2
"""From a slice of this size on there may be more behind it (`metric_log.read_slice`)."""


def open_sink(
    run_dir: RunDir,
    description: Description,
    *,
    timeout_s: float = 10.0,
    environ: Mapping[str, str] = os.environ,
    watch: Watch | None = None,
) -> Sink:
    """The run's way to where it is tracked."""
    if run_dir.node:
        return NodeSink(run_dir, description, timeout_s=timeout_s, environ=environ, watch=watch)
    is_local = isinstance(address_of(run_dir, description, environ), LocalAddress)
    return (LocalSink if is_local else Sink)(run_dir, description, timeout_s=timeout_s, environ=environ, watch=watch)


@dataclass(slots=True)
class _News:
    """What a request says, and how far the run's files are said with it."""

    batch: Batch = field(default_factory=Batch)
    notes: dict[str, Any] = field(default_factory=dict)
    is_last: bool = True


class LocalSink(Sink):
    _takes_runs_at_once = True

    def create(self) -> dict[str, Any]:
        with self.lock:
            if not self.run and not self.state.creating:
                self._wait_for_parent()
                self._put(_News(), self._new_tags(read_state(self.run_dir.journal)), RunStatus.RUNNING, None)
            return super().create()

    def push(self) -> None:
        with self.lock:
            if self.state.creating or not self._push_at_once(read_state(self.run_dir.journal)):
                super().push()

    def push_logged(self) -> None:
        with self.lock:
            if not self._push_parts():
                super().push_logged()

    def _push_at_once(self, state: RunState) -> bool:
        """False: this takes MLflow's own API."""
        if not self.run:
            self._wait_for_parent()
        if self.description.datasets and not self.state.datasets_sent:
            self.create()
            self._push_datasets()
        if not self._push_parts(but_the_last=True):
            return False
        status, end_ms = state.status
        news = self._next_part()
        if news is None:
            return False
        if status.is_final:
            self._end_children(status, end_ms)
        return self._put(news, self._new_tags(state), status, end_ms)

    def _push_parts(self, *, but_the_last: bool = False) -> bool:
        """What the program and the machine reported; only a run that MLflow missed for a while has more than one part."""
        while (news := self._next_part()) is not None:
            if news.is_last and (but_the_last or not news.notes):
                return True
            if not self._put(news, {}, RunStatus(self.state.status or RunStatus.RUNNING), self.state.end_ms):
                return False
        return False

    def _next_part(self) -> _News | None:
        """The next of what was reported; None when some of it needs a request of its own."""
        entries, logged = read_slice(self.run_dir.logged, self.state.logged)
        samples, system = read_slice(self.run_dir.system_metrics, self.state.system)
        batch = one_batch([*entries, *self._system_entries(samples)])
        if batch is None:
            return None
        notes: dict[str, Any] = {}
        if logged != self.state.logged:
            notes["logged"] = logged
        if system != self.state.system:
            notes |= {"system": system, "system_samples": self.state.system_samples + len(samples)}
        longest = max(logged - self.state.logged, system - self.state.system)
        return _News(batch, notes, is_last=longest < _FULL_SLICE)

    def _put(self, news: _News, tags: Mapping[str, str], status: RunStatus, end_ms: int | None) -> bool:
        """Send *news*; the run is made with it when it isn't there. False when the server doesn't take it so."""
        if not self._takes_runs_at_once:
            return False
        changed = (status.value, end_ms) != (self.state.status, self.state.end_ms)
        if self.run and not (news.notes or tags or changed):
            return True
        run = self._run_there()
        if not self.run:
            tags = {"mlflow.runName": self._name, **tags}
        params = {} if self.state.params_sent else self.description.params
        first = one_batch([*param_entries(params), *tag_entries(tags)]) or Batch()
        document = {
            **self._head(run),
            "params": first.params + news.batch.params,
            "tags": first.tags + news.batch.tags,
            "metrics": news.batch.metrics,
            "status": status.value,
            "end_ms": end_ms,
        }
        try:
            self.client.put_run(run["run_id"], document)
        except MlflowRefused as error:
            # 409 is about what was sent. Else the server is an older launch's. A lost answer may have made the run: look for it.
            self._takes_runs_at_once = error.status == 409
            if not self.run:
                self._note(creating=True)
            return False
        if not self.run:
            self._publish(dict(run))
        said = {"params_sent": True, "tags": {**self.state.tags, **tags}, "status": status.value, "end_ms": end_ms}
        self._note(**said, **news.notes)
        return True

    def _head(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "experiment_id": run["experiment_id"],
            "experiment": run["experiment"],
            "artifact_uri": run["artifact_uri"],
            "name": self._name,
            "user": self.description.user,
            "start_ms": self.description.start_ms,
        }

    @property
    def _name(self) -> str:
        return fitting_value(self.description.run_name, 250)

    def _run_there(self) -> Mapping[str, Any]:
        """The run, also before the server has it."""
        if self.run:
            return self.run
        if not self.state.provisional_id:
            self._note(provisional_id=tracker_state.new_run_id())
        run_id, experiment = self.state.provisional_id, self._known_experiment()
        artifact_uri = f"mlflow-artifacts:/{experiment.experiment_id}/{run_id}/artifacts"
        return self._run_document(experiment, CreatedRun(run_id, artifact_uri))

    def _known_experiment(self) -> Experiment:
        name = self.description.experiment
        known = recall_experiment(self.address, name, near=self.run_dir)
        if known is None:
            known = self.client.experiment(name)
            remember_experiment(self.address, known, near=self.run_dir)
        return known


_FIRST_NODE_WITHIN_S = 3.0
_LOOK_S = 0.05


class NodeSink(Sink):
    """Of a further node of a run: nothing goes to MLflow from there, and the program's calls are answered all the same.

    Rank 0's word counts, as everywhere where many ranks say the same. What other nodes' programs log stays in
    `nodes/K/logged.jsonl`.
    """

    def create(self) -> dict[str, Any]:
        """The MLflow run of the first node, once that has it."""
        deadline = time.monotonic() + _FIRST_NODE_WITHIN_S
        while not self.run:
            try:
                self.run = json.loads(self.run_dir.mlflow.read_bytes())
            except (FileNotFoundError, ValueError):
                if time.monotonic() > deadline:
                    raise LaunchError("the first node has no MLflow run yet") from None
                time.sleep(_LOOK_S)
        return self.run

    def push(self) -> None:
        """Runs that the program made and left open are ended by the first node's sink, which can try again later."""

    def push_files(self) -> None:
        return

    def push_logged(self) -> None:
        return

    def is_complete(self) -> bool:
        return True

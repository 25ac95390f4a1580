"""What the local server hears of a run's end, whatever becomes of the run's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from journal_lines import write_event

from launcher.errors import LaunchError
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.local_sink import LocalSink
from launcher.tracking.mlflow.rest import Experiment
from launcher.tracking.mlflow.sink import recall_experiment, remember_experiment
from runtime.state_dir import RunDir, StateDir


class Server:
    """The client of a server that takes everything."""

    def __init__(self, state: StateDir) -> None:
        self.address = LocalAddress(state.root)
        self.told: list[Mapping[str, Any]] = []

    def experiment(self, name: str) -> Experiment:
        return Experiment("1", name)

    def put_run(self, _run_id: str, document: Mapping[str, Any]) -> None:
        self.told.append(document)


@pytest.fixture
def run_dir(run_dir: RunDir) -> RunDir:
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    return run_dir


def test_a_run_has_ended_when_its_files_cannot_be_sent_for_any_reason(run_dir: RunDir) -> None:
    sink = LocalSink(run_dir, Description("digits", "digits", "ada", 0))
    server = sink.client = Server(StateDir(run_dir.root.parent.parent))  # type: ignore[assignment]
    (run_dir.root / "outputs.json").mkdir()  # in the way, as a full disk would be
    sink.push()
    with pytest.raises(LaunchError, match="cannot complete the record"):
        sink.push_files()
    assert ["FINISHED"] == [document["status"] for document in server.told]
    assert not sink.is_complete(), "the sender tries the files again"
    (run_dir.root / "outputs.json").rmdir()
    sink.push_files()
    assert sink.is_complete()


def test_runs_that_the_program_made_are_gone_through_while_it_makes_more(run_dir: RunDir) -> None:
    sink = LocalSink(run_dir, Description("digits", "digits", "ada", 0))
    sink.add_child("first")
    for _known in sink.state.children:
        sink.add_child("second")
    sink.end_child("first")
    sink.add_child("first")
    assert {"first": True, "second": False} == sink.state.children


def test_ids_of_experiments_that_another_user_wrote_down_are_asked_for(run_dir: RunDir) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    known = run_dir.state.cache / "mlflow-experiments.json"
    known.write_text("{}")
    known.chmod(0)
    address = LocalAddress(run_dir.state.root)
    assert None is recall_experiment(address, "digits", near=run_dir)
    remember_experiment(address, Experiment("7", "digits"), near=run_dir)
    assert Experiment("7", "digits") == recall_experiment(address, "digits", near=run_dir)

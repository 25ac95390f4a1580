"""Runs that a program on a further node makes in MLflow: with the run itself gone nobody else ends them."""

from __future__ import annotations

from journal_lines import write_event

from launcher.run.start.create_run import new_run_dir
from launcher.tracking import tracker_state
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.local_sink import LocalSink, open_sink
from launcher.tracking.mlflow.rest import Experiment
from runtime.state_dir import StateDir


class Server:
    """The client of a server that takes everything."""

    def __init__(self, state):
        self.address = LocalAddress(state.root)
        self.ended = []

    def experiment(self, name):
        return Experiment("1", name)

    def put_run(self, _run_id, _document):
        return None

    def update_run(self, run_id, *, status, end_ms):
        self.ended.append((run_id, status))


def test_those_that_it_left_open_end_with_the_run_and_once(tmp_path):
    state = StateDir(tmp_path).ensure()
    run_dir = new_run_dir(state)
    about = Description("digits", "digits", "ada", 0, nodes=2)
    node = run_dir.on_node(1)
    node.place.mkdir(parents=True)
    node_sink = open_sink(node, about)
    for run_id in ("open", "ended"):
        node_sink.add_child(run_id)
    node_sink.end_child("ended")
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    write_event(run_dir.journal, "finished", reason="stopped", exit_code=143, usage={})
    sink = LocalSink(run_dir, about)
    server = sink.client = Server(state)
    for _ in range(2):
        sink.push()
    assert [("open", "KILLED")] == server.ended
    assert {"open": True, "ended": True} == tracker_state.load(run_dir).children

"""What a build in a job does is told to the command's observer as if it were done there."""

from __future__ import annotations

import pytest
from sample_plan import PLAN

from launcher.cluster.build_job import EventReader, EventWriter
from launcher.errors import ConfigError
from runtime.errors import BuildError
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer

LAYER = Layer(digest_bytes(b"1"), digest_bytes(b"2"), 3, "numpy")
STEP, LATER = PLAN.build.steps[0], PLAN.build.steps[1]


class Recorder:
    """Keeps the calls."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values: self.calls.append((name, *values))


@pytest.fixture
def events(tmp_path):
    (tmp_path / "events.jsonl").touch()
    return EventWriter(tmp_path / "events.jsonl", PLAN.build), EventReader(tmp_path / "events.jsonl", PLAN.build)


def test_every_call_comes_with_its_step_and_layers(events):
    writer, reader = events
    calls = [
        ("step_cached", STEP, (LAYER,)),
        ("step_started", LATER),
        ("download", "numpy", 5, 5),
        ("output", LATER, "hello"),
        ("message", "a warning"),
        ("step_built", LATER, (LAYER,), 1.5),
    ]
    for name, *values in calls:
        getattr(writer, name)(*values)
    here = Recorder()
    assert not reader.replay(here)
    assert calls == here.calls
    writer.write("finished", image_digest=LAYER.diff_id)
    assert reader.replay(here)
    assert calls == here.calls


@pytest.mark.parametrize("error", [ConfigError, BuildError])
def test_a_failure_there_is_one_here(events, error):
    writer, reader = events
    writer.write("failed", error=error.__name__, message="no room", hint="make some")
    with pytest.raises(error, match="no room") as failed:
        reader.replay(Recorder())
    assert "make some" == failed.value.hint

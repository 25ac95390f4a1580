"""`launch hydra-jobs`: what it refuses of what a Hydra program asks for."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pytest

from launcher.cli.hydra_jobs import serve_hydra_jobs
from launcher.cli.hydra_program import JobRequest, JobSettings, write_task
from launcher.errors import ConfigError

SETTINGS = JobSettings(("experiment=jobs",), {"object": "Trainer"}, "python3", "{}", None, None, ())


def test_a_plugin_of_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"settings": {"protocol": 2}, "jobs": []})))
    assert 2 == serve_hydra_jobs()
    answer = json.loads(capfd.readouterr().out)
    assert answer["error"].startswith("error: this launch speaks protocol 1 with Hydra's launcher `launch`, which speaks 2 here")


def test_the_pickle_of_a_task_is_kept_as_it_came(tmp_path: Path) -> None:
    asked = {"overrides": [], "arguments": [], "params": {}, "pickle": base64.b64encode(b"{}\nwhatever").decode()}
    write_task(SETTINGS, JobRequest.from_json(asked), tmp_path / "1")
    assert b"{}\nwhatever" == (tmp_path / "1/task.pickle").read_bytes()


def test_a_task_without_a_pickle_is_named_with_the_reason(tmp_path: Path) -> None:
    job = JobRequest.from_json({"overrides": [], "arguments": [], "params": {}, "no_pickle": "TypeError: an open file"})
    with pytest.raises(ConfigError, match=r"`Trainer` cannot be copied into a container \(TypeError: an open file\)"):
        write_task(SETTINGS, job, tmp_path / "1")

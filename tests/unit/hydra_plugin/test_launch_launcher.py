"""Hydra's launcher `launch`, the side of the program: what it asks of the command `launch`, and how it finds that."""

from __future__ import annotations

import base64
import functools
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from hydra_plugins.launch_launcher._engine import Engine, find_launch
from hydra_plugins.launch_launcher._job import Job, composed
from hydra_plugins.launch_launcher._pickled import pickled
from hydra_plugins.launch_launcher._program import job_request, plugin_nodes, started_as
from omegaconf import OmegaConf

MULTIRUN = ["hydra/launcher=launch", "hydra.launcher.experiment=jobs"]


def train(_config: Any) -> float:
    return 1.0


class Trainer:
    def __call__(self, _config: Any) -> float:
        return 2.0


@pytest.fixture
def hydra(tmp_path: Path) -> Iterator[Callable[..., Hydra]]:
    """A Hydra whose configuration is the text that it is given. launch has a Hydra with sources of its own in this process."""
    ours = dict(Singleton._instances)
    store = ConfigStore.instance()  # Hydra's own nodes are stored when it is imported
    Singleton._instances.clear()
    Singleton._instances[ConfigStore] = store  # type: ignore[index, assignment]

    def made(text: str) -> Hydra:
        (tmp_path / "config.yaml").write_text(text)
        return Hydra.create_main_hydra_file_or_module(str(tmp_path / "train.py"), None, ".", "train")

    yield made
    GlobalHydra.instance().clear()
    Singleton._instances.clear()
    Singleton._instances.update(ours)


def job_of(hydra: Hydra, typed: list[str], overrides: list[str]) -> tuple[Any, Job]:
    """The configuration of the whole, and job 3 of it."""
    config = hydra.compose_config(config_name="config", overrides=typed, run_mode=RunMode.MULTIRUN)
    context: Any = SimpleNamespace(config_loader=hydra.config_loader)
    return config, Job(3, tuple(overrides), composed(context, config, overrides, 3))


def test_a_job_gets_what_was_typed_but_where_hydra_would_have_put_it(hydra: Callable[..., Hydra]) -> None:
    """`${hydra.job.num}` means something in a job only."""
    typed = [*MULTIRUN, "lr=0.1,0.2", "hydra.sweep.dir=found", "hydra.sweep.subdir=job_${hydra.job.num}", "hydra.verbose=true"]
    config, job = job_of(hydra("lr: 1\n"), typed, ["lr=0.2"])
    request = job_request(job, config)
    assert ["--config-name", "config", "lr=0.2", "hydra.verbose=true", "hydra.job.num=3"] == request["arguments"]
    assert {"lr": 0.2} == request["params"]
    assert "job_3" == job.config.hydra.sweep.subdir


def test_a_choice_that_each_job_makes_is_missing_from_the_whole(hydra: Callable[..., Hydra], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/small.yaml").write_text("size: 1\n")
    config, _ = job_of(hydra('defaults: [{model: "???"}]\n'), MULTIRUN, ["model=small"])
    assert {"hydra/launcher/launch", "hydra/sweeper/basic"} == set(json.loads(plugin_nodes(config)))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Python was started with this as its program."""

    def made(file: str | None = None, module: str | None = None) -> None:
        main = ModuleType("__main__")
        main.__spec__ = None if module is None else SimpleNamespace(name=module)  # type: ignore[assignment]
        if file is not None:
            main.__file__ = file
        monkeypatch.setitem(sys.modules, "__main__", main)

    return made


HERE = Trainer.__module__


@pytest.mark.parametrize(
    ("program", "task", "ways"),
    [
        pytest.param({"file": "/home/train.py"}, train, {"file": "/home/train.py", "function": f"{HERE}:train"}, id="file"),
        pytest.param({"module": "pkg.train"}, train, {"module": "pkg.train", "function": f"{HERE}:train"}, id="module"),
        pytest.param({"file": "/usr/bin/pytest"}, Trainer(), {"file": "/usr/bin/pytest", "object": "Trainer"}, id="an object"),
        pytest.param({"module": "pytest.__main__"}, Trainer(), {"object": "Trainer"}, id="an object, and another module"),
        pytest.param({}, functools.partial(train), {"object": "partial"}, id="a partial, of a notebook"),
        pytest.param({}, lambda _: 1, {"object": "<lambda>"}, id="a function without a name"),
    ],
)
def test_the_ways_in_which_a_task_can_be_started(
    started: Callable[..., None], program: dict[str, str], task: Any, ways: dict[str, str]
) -> None:
    started(**program)
    assert ways == started_as(task)


def test_a_task_without_a_name_goes_along_with_its_configuration(hydra: Callable[..., Hydra]) -> None:
    """The image has neither the launcher nor the sweeper: nothing of theirs may be in the pickle."""
    _, job = job_of(hydra("lr: 1\nown: ${of_the_program:}\n"), MULTIRUN, ["lr=0.2"])
    OmegaConf.register_new_resolver("of_the_program", lambda: "found")
    found = pickled(Trainer(), job, SimpleNamespace(callbacks=Callbacks()))  # type: ignore[arg-type]
    OmegaConf.clear_resolver("of_the_program")
    head, body = base64.b64decode(found["pickle"]).split(b"\n", 1)
    assert {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"} == json.loads(head)
    assert b"launch_launcher.launcher\x94" not in body
    inside = pickle.loads(body)
    assert (2.0, 0.2, ["of_the_program"]) == (inside["task"](None), inside["config"].lr, list(inside["resolvers"]))


def test_a_task_that_cannot_be_copied_says_why(hydra: Callable[..., Hydra], tmp_path: Path) -> None:
    _, job = job_of(hydra("lr: 1\n"), MULTIRUN, ["lr=0.2"])
    with (tmp_path / "open").open("w") as file:
        found = pickled(functools.partial(print, file=file), job, SimpleNamespace(callbacks=Callbacks()))  # type: ignore[arg-type]
    assert ["no_pickle"] == list(found)


def launch_that(directory: Path, does: str) -> None:
    """A command of that name."""
    directory.mkdir(exist_ok=True)
    (directory / "launch").write_text(f"#!/bin/sh\n{does}\n")
    (directory / "launch").chmod(0o755)


def test_launch_is_found_beside_python_then_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(CompactHydraException, match=r"`launch` is neither beside .*venv/python` nor on PATH"):
        find_launch()
    launch_that(tmp_path / "bin", "")
    assert str(tmp_path / "bin/launch") == find_launch()
    launch_that(tmp_path / "venv", "")
    assert str(tmp_path / "venv/launch") == find_launch()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        pytest.param("read line; echo usage: launch FILE", "it is another program called launch", id="other words"),
        pytest.param("exit 2", r"ended with exit code 2; its last words are above", id="an older launch"),
        pytest.param("kill -9 $$", r"was killed \(SIGKILL\); jobs that run go on", id="a killed one"),
    ],
)
def test_a_command_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str) -> None:
    launch_that(tmp_path / "bin", does)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(CompactHydraException, match=said):
        Engine({}).run([])

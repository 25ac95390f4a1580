"""A `@hydra.main` program whose launcher is `launch`: its jobs run in containers, and its sweeper gets what they return.

The image has hydra-core of the version that is installed here; everything else about the program is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

EXPERIMENT = f"""\
# @package _global_
image: {{requirements: [hydra-core=={version("hydra-core")}]}}
code: {{root: .}}
command: python3 train.py
cpus: 0.5
memory: 256MiB
tracking: null
"""

PROGRAM = """\
import os, hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path="settings", config_name="config")
def main(cfg):
    job = HydraConfig.get().job
    print("in the container" if os.getpid() < 100 else "outside", job.num, job.id, cfg.words, flush=True)
    if cfg.how == "raise":
        raise ValueError("lr is no good")
    if cfg.how == "die":
        os._exit(7)
    return {"distance": (cfg.lr - 0.25) ** 2} if cfg.how == "mapping" else (cfg.lr - 0.25) ** 2

if __name__ == "__main__":
    main()
"""

# Its class is in the code, and so in the image.
STEPS = """\
import os

class Steps:
    def __init__(self, many):
        self.many = many

    def __call__(self, cfg):
        print("steps in the container" if os.getpid() < 100 else "outside", flush=True)
        return cfg.lr * self.many
"""

CALLER = """\
import hydra
from steps import Steps

if __name__ == "__main__":
    hydra.main(version_base=None, config_path="settings", config_name="config")(Steps(5))()
"""

CONFIG = "lr: 0.1\nhow: fine\nwords: null\n"

# A sweeper that the image does not have, chosen and set in the program's configuration: it halves what is left around the best.
SWEEPER = """\
from dataclasses import dataclass
from pathlib import Path
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

@dataclass
class Halving:
    _target_: str = "hydra_plugins.halving.HalvingSweeper"
    rounds: int = 9

ConfigStore.instance().store(group="hydra/sweeper", name="halving", node=Halving)

class HalvingSweeper(Sweeper):
    def __init__(self, rounds):
        self.rounds = rounds

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        low, high, done = 0.0, 1.0, 0
        for _ in range(self.rounds):
            middle = (low + high) / 2
            points = [(low + middle) / 2, (middle + high) / 2]
            jobs = self.launcher.launch([[*arguments, f"lr={point}"] for point in points], initial_job_idx=done)
            left, right = (job.return_value for job in jobs)
            low, high, done = (low, middle, done + 2) if left < right else (middle, high, done + 2)
        Path("found").write_text(f"{(low + high) / 2} {jobs[0].cfg.lr} {jobs[0].task_name} {jobs[0].overrides}")
"""


@pytest.fixture
def program(session_home: Path, tmp_path: Path) -> Launch:
    files = {"conf/experiment/jobs.yaml": EXPERIMENT, "train.py": PROGRAM, "settings/config.yaml": CONFIG}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Launch(session_home, tmp_path)


def _python(launch: Launch, *arguments: str, check: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "train.py", "-m", "hydra/launcher=launch", "hydra.sweep.dir=found_there", *arguments]
    env = {**launch.env(), **environ}
    done = subprocess.run(argv, cwd=launch.project, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == check, f"exit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    return done


def test_each_job_is_a_run_below_one_parent_and_its_outputs_are_where_hydra_users_look(program: Launch) -> None:
    subdir = "hydra.sweep.subdir=job_${hydra.job.num}"
    _python(program, "hydra.launcher.experiment=jobs", "lr=0.5,0.75", "words='${lr} and $\\{x\\}'", subdir)
    jobs = program.runs()[-2:]
    assert [{"lr": 0.5}, {"lr": 0.75}] == sorted(({"lr": job["params"]["lr"]} for job in jobs), key=lambda params: params["lr"])
    assert 1 == len({job["parent_run_id"] for job in jobs} - {None})
    assert [0.0625, 0.25] == sorted(job["metrics"]["return_value"] for job in jobs)
    place = program.project / "found_there/job_0"
    assert "lr: 0.5\n" in (place / ".hydra/config.yaml").read_text()
    assert program.record(place.resolve().parent.name)["params"]["lr"] == 0.5
    said = program("logs", place.resolve().parent.name).stdout
    assert said.startswith(f"in the container 0 {place.resolve().parent.name} 0.5 and ")


@pytest.mark.requires("patience")
def test_a_sweeper_that_the_image_lacks_is_told_what_jobs_return(program: Launch) -> None:
    (program.project / "hydra_plugins").mkdir()
    (program.project / "hydra_plugins/halving.py").write_text(SWEEPER)
    with (program.project / "settings/config.yaml").open("a") as config:
        config.write("defaults: [override hydra/sweeper: halving, _self_]\nhydra: {sweeper: {rounds: 2}}\n")
    # The plugin is outside of the code: the image cannot have it.
    experiment = program.project / "conf/experiment/jobs.yaml"
    experiment.write_text(EXPERIMENT.replace("{root: .}", '{root: ., exclude: ["hydra_plugins/**"]}'))
    _python(program, "hydra.launcher.experiment=jobs", "how=fine", PYTHONPATH=str(program.project))
    found = (program.project / "found").read_text()
    assert found == "0.375 0.125 train ['how=fine', 'lr=0.125']"
    assert 1 == len({run["parent_run_id"] for run in program.runs()[-4:]})


def test_what_a_job_raises_is_raised_again_and_the_others_run_all_the_same(program: Launch) -> None:
    done = _python(program, "hydra.launcher.experiment=jobs", "how=raise,mapping", check=1)
    assert "Error executing job with overrides: ['how=raise']" in done.stderr
    assert "\nValueError: lr is no good" in done.stderr
    assert '/workspace/train.py", line 9, in main' in done.stderr
    assert [0, 1] == sorted(run["exit_code"] for run in program.runs()[-2:])
    result = json.loads((program.project / "found_there/1/hydra_job.json").read_text())
    assert result["value"] == {"distance": pytest.approx(0.0225)}


def test_an_object_that_is_called_runs_as_it_is_outside(program: Launch) -> None:
    """What starts it is outside of the code, and no name leads to it: it goes along as a pickle, with its configuration."""
    (program.project / "conf/experiment/jobs.yaml").write_text(EXPERIMENT.replace("{root: .}", "{root: code}"))
    (program.project / "code").mkdir()
    (program.project / "code/steps.py").write_text(STEPS)
    (program.project / "train.py").write_text(CALLER)
    (program.project / "settings/__init__.py").touch()  # Hydra looks beside the class: for it, `settings` is a package
    _python(program, "hydra.launcher.experiment=jobs", "lr=0.5,0.75", PYTHONPATH=str(program.project / "code"))
    job = program.runs()[-1]
    assert {0.5: 2.5, 0.75: 3.75}[job["params"]["lr"]] == job["metrics"]["return_value"]
    assert "steps in the container" in program("logs", job["run_id"]).stdout
    assert "lr: 0.5\n" in (program.project / "found_there/0/.hydra/config.yaml").read_text()
    assert "metrics identical" in program("rerun", job["run_id"]).stderr  # the pickle is kept


@pytest.mark.requires("patience")
def test_a_job_that_dies_without_a_word_has_failed_and_says_where_to_look(program: Launch) -> None:
    done = _python(program, "hydra.launcher.experiment=jobs", "how=die", check=1)
    run_id = program.runs()[-1]["run_id"]
    assert f"RuntimeError: the job failed (program, exit code 7)\nin run {run_id} (`launch logs {run_id}`)" in done.stderr


def test_a_wrong_experiment_is_refused_before_anything_runs_in_words_without_a_traceback(program: Launch) -> None:
    before = len(program.runs())
    assert "`hydra.launcher.experiment` is not set" in _python(program, check=1).stderr
    misspelt = _python(program, "hydra.launcher.experiment=jbos", check=1).stderr
    assert "did you mean `experiment=jobs`?" in misspelt
    elsewhere = program.project / "conf/experiment/elsewhere.yaml"
    elsewhere.write_text(EXPERIMENT.replace("{root: .}", "{root: settings}"))
    outside = _python(program, "hydra.launcher.experiment=elsewhere", check=1).stderr
    assert f"`{program.project}/train.py` is not in the code of experiment `elsewhere`" in outside
    assert "Traceback" not in misspelt + outside
    assert before == len(program.runs())


def test_an_image_without_hydra_is_named(program: Launch) -> None:
    (program.project / "conf/experiment/bare.yaml").write_text(
        EXPERIMENT.replace("hydra-core", "iniconfig").replace("==1", ">=1")
    )
    done = _python(program, "hydra.launcher.experiment=bare", check=1)
    assert "hydra-core is not installed in the image of the job" in done.stderr
    assert "`image.requirements` of experiment `bare`" in done.stderr

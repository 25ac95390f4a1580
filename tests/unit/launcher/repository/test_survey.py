"""A repository as its author left it, and the experiment that `launch init` makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.repository.experiment_file import Findings, experiment_text
from launcher.repository.survey import survey

TRAIN = """\
import argparse
import torch
from model import Net
if __name__ == "__main__":
    argparse.ArgumentParser().parse_args()
    for epoch in range(3):
        print(f"epoch {epoch}: train loss {epoch:.3f}, val loss {epoch:.3f}")
"""


@pytest.fixture
def repository(tmp_path: Path):
    def write(**files: str) -> Path:
        top = tmp_path / "proj"
        for name, text in {"model.py": "import numpy\n", "train.py": TRAIN, **files}.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        return top

    return write


def read(top: Path, *, gpus: int = 0, **environ: str) -> Findings:
    return survey(top, "proj", environ=environ, gpus=gpus)


def written(top: Path, **options: Any) -> dict[str, Any]:
    return yaml.safe_load(experiment_text(read(top, **options)))


@pytest.mark.parametrize(
    ("readme", "command"),
    [
        pytest.param("```\n$ python train.py --lr 0.1\n```", "python3 train.py --lr 0.1", id="with a prompt"),
        pytest.param("Run `python3.11 train.py`.\n\n    python train.py", "python3 train.py", id="indented"),
        pytest.param(
            "CUDA_VISIBLE_DEVICES=0 python train.py \\\n  --epochs 3", "python3 train.py --epochs 3", id="over two lines"
        ),
        pytest.param("uv run train.py | tee log", "python3 train.py", id="by uv, into a pipe"),
        pytest.param("python sample.py\npython eval.py\npython train.py -q", "python3 train.py -q", id="training comes first"),
        pytest.param("python train.py --data <path>\npython train.py --small", "python3 train.py --small", id="whole ones first"),
        pytest.param(
            "torchrun --standalone --nproc_per_node=8 train.py -q", "torchrun train.py -q", id="ranks are launch's to say"
        ),
        pytest.param("accelerate launch train.py", "accelerate launch train.py", id="accelerate"),
        pytest.param("python -m pkg.run", "python3 -m pkg.run", id="a module"),
        pytest.param("cd tools && python fit.py", ["sh", "-c", "cd tools && exec python3 fit.py"], id="from another directory"),
        pytest.param("python pkg/run.py --install", "python3 train.py", id="what installs does not train"),
        pytest.param("Nothing is said here.", "python3 train.py", id="no command at all"),
    ],
)
def test_the_command_is_the_one_that_trains(repository, readme: str, command: Any) -> None:
    others = {"sample.py": "print(1)\n", "eval.py": "print(1)\n", "pkg/run.py": "print(1)\n", "tools/fit.py": "print(1)\n"}
    assert command == written(repository(**{"README.md": readme, **others}))["command"]


def test_without_anything_that_looks_like_training_it_is_left_open(repository) -> None:
    top = repository(**{"train.ipynb": "{}"})
    (top / "train.py").unlink()
    found = read(top)
    assert ("???", ["what starts the program: a notebook, and no Python file that looks like training"]) == (
        yaml.safe_load(experiment_text(found))["command"],
        found.doubts,
    )


SETUP = "from setuptools import setup\nsetup(name='x', install_requires=['torch', 'numpy>=1'])\n"
PROJECT = "[project]\nname = 'x'\ndependencies = ['torch', 'numpy']\n"
POETRY = "[tool.poetry.dependencies]\ntorch = '*'\nnumpy = '*'\n"
COG = "build:\n  python_version: '3.11'\n  system_packages: [libgl1]\n  python_packages: [torch==2.1]\n"


@pytest.mark.parametrize(
    ("files", "image"),
    [
        pytest.param({}, {"requirements": ["numpy", "torch"]}, id="nothing but imports"),
        pytest.param(
            {"model.py": "from torch.utils.tensorboard import SummaryWriter\n"},
            {"requirements": ["tensorboard", "torch"]},
            id="what torch itself imports",
        ),
        pytest.param({"README.md": "pip install torch einops"}, {"requirements": ["torch", "einops", "numpy"]}, id="a README"),
        pytest.param(
            {"README.md": "    pip install torch \\\n        einops\n    python train.py --lr 0.1\n"},
            {"requirements": ["torch", "einops", "numpy"]},
            id="a README whose next line is another command",
        ),
        pytest.param({"requirements.txt": "torch\nnumpy\n"}, {"requirements": "requirements.txt"}, id="requirements.txt"),
        pytest.param(
            {"requirements.txt": "numpy\n"}, {"requirements": ["-r requirements.txt", "torch"]}, id="one that forgot torch"
        ),
        pytest.param(
            {"requirements.txt": "sklearn\ntorch>=2  # any\nnumpy\n"},
            {"requirements": ["scikit-learn", "torch>=2", "numpy"]},
            id="one with a name that is none any more",
        ),
        pytest.param({"uv.lock": "", "requirements.txt": "numpy\n"}, {"requirements": "uv.lock"}, id="uv.lock first"),
        pytest.param({"poetry.lock": "", "pyproject.toml": POETRY}, {"requirements": "poetry.lock"}, id="poetry.lock"),
        pytest.param({"pdm.lock": ""}, {"requirements": "pdm.lock"}, id="pdm.lock"),
        pytest.param({"Pipfile.lock": "{}"}, {"requirements": "Pipfile.lock"}, id="Pipfile.lock"),
        pytest.param({"environment.yml": "dependencies: [python]"}, {"requirements": "environment.yml"}, id="environment.yml"),
        pytest.param(
            {"environment.yml": "dependencies: [python=3.11, numpy=1.26.4, pytorch>=2, {pip: [rich]}]"},
            {"requirements": ["numpy==1.26.4", "torch>=2", "rich"], "python": "3.11"},
            id="environment.yml whose packages an index has",
        ),
        pytest.param(
            {"environment.yml": "dependencies: [python=3.11, r-base, numpy]"},
            {"requirements": "environment.yml"},
            id="environment.yml with what only conda has",
        ),
        pytest.param({"pyproject.toml": PROJECT}, {"requirements": "pyproject.toml"}, id="pyproject.toml"),
        pytest.param({"pyproject.toml": POETRY}, {"requirements": "pyproject.toml"}, id="pyproject.toml of poetry"),
        pytest.param(
            {"pyproject.toml": "[project]\ndependencies = ['torch']\n"},
            {"requirements": ["-r pyproject.toml", "numpy"]},
            id="pyproject.toml without what an example imports",
        ),
        pytest.param({"setup.py": SETUP}, {"requirements": ["torch", "numpy>=1"]}, id="setup.py"),
        pytest.param({"Dockerfile": "FROM x\n"}, {"dockerfile": "Dockerfile"}, id="a Dockerfile alone"),
        pytest.param(
            {
                "Dockerfile": "ARG BASE\nARG TAG=1\nFROM $BASE:$TAG\n",
                "Makefile": "all:\n\tdocker build --build-arg BASE=ubuntu .\n",
            },
            {"dockerfile": "Dockerfile", "args": {"BASE": "ubuntu"}},
            id="a Dockerfile that is built with an argument",
        ),
        pytest.param(
            {"Dockerfile": "RUN apt-get update && apt-get install -y \\\n  git ffmpeg\n", "requirements.txt": "torch\nnumpy\n"},
            {"requirements": "requirements.txt", "apt": ["git", "ffmpeg"]},
            id="a Dockerfile beside",
        ),
        pytest.param(
            {"requirements.txt": "torch\nnumpy\nlightgbm>=4\n"},
            {"requirements": "requirements.txt", "apt": ["libgomp1"]},
            id="a wheel that expects a library",
        ),
        pytest.param(
            {"cog.yaml": COG}, {"requirements": ["torch==2.1", "numpy"], "apt": ["libgl1"], "python": "3.11"}, id="cog.yaml"
        ),
        pytest.param(
            {".python-version": "3.11.4\n", "requirements.txt": "torch\nnumpy\n"},
            {"requirements": "requirements.txt", "python": "3.11"},
            id="a Python",
        ),
        pytest.param(
            {"runtime.txt": "3.9\n", "requirements.txt": "torch\nnumpy\n"},
            {"requirements": "requirements.txt"},
            id="a site's Python",
        ),
        pytest.param(
            {"runtime.txt": "python-3.11.4\n", "requirements.txt": "torch\nnumpy\n"},
            {"requirements": "requirements.txt", "python": "3.11"},
            id="a program's runtime.txt",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + "requires-python = '>=3.8,<3.13'\n"},
            {"requirements": "pyproject.toml", "python": "3.11"},
            id="a bound: one that needs no registry comes first",
        ),
        pytest.param(
            {"setup.py": SETUP.replace("name='x'", "python_requires='>=3.7,<3.11'")},
            {"requirements": ["torch", "numpy>=1"], "python": "3.10"},
            id="a bound in setup.py",
        ),
        pytest.param(
            {"pyproject.toml": POETRY + "python = '~3.9'\n"},
            {"requirements": "pyproject.toml", "python": "3.9"},
            id="a bound of poetry's",
        ),
        pytest.param(
            {"Pipfile.lock": "{}", "Pipfile": "[requires]\npython_version = '3.12'\n"},
            {"requirements": "Pipfile.lock", "python": "3.12"},
            id="a Pipfile's Python",
        ),
        pytest.param(
            {"requirements.txt": "torch==1.13.1\nnumpy==1.21.0\n"},
            {"requirements": "requirements.txt", "python": "3.9"},
            id="pins with wheels for an old Python only",
        ),
        pytest.param(
            {"requirements.txt": "torch==2.3.0\nnumpy\n"},
            {"requirements": "requirements.txt", "python": "3.11"},
            id="pins with wheels for the Python of another suite",
        ),
    ],
)
def test_the_environment_is_what_the_repository_says(repository, files: dict[str, str], image: dict[str, Any]) -> None:
    assert image == written(repository(**files))["image"]


OPTIONS = """\
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("-b", "--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--optim", default="adam", choices=["adam", "sgd"])
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--amp", action="store_true")
parser.add_argument("--resume")
parser.add_argument("--width", default=8)
parser.add_argument("--local_rank", type=int, default=0)
either = parser.add_mutually_exclusive_group()
either.add_argument("--epochs", type=int, default=1)
either.add_argument("--steps", type=int, default=1)
"""


def test_options_of_the_program_are_params_with_the_values_that_they_have(repository) -> None:
    top = repository(**{"train.py": OPTIONS, "README.md": "python train.py data.csv --lr 0.1 --amp --resume <path>"})
    experiment = written(top)
    assert ({"batch_size": 64, "lr": 0.1, "optim": "adam"}, 7) == (experiment["params"], experiment["seed"])
    assert [
        *("python3", "train.py", "data.csv", "--lr=${params.lr}", "--amp", "--resume", "<path>"),
        *("--batch-size=${params.batch_size}", "--optim=${params.optim}", "--seed=${seed}"),
    ] == experiment["command"]
    assert "# flags, and what has no one value: --amp --resume --width --local_rank" in experiment_text(read(top))


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"train.py": OPTIONS + "parser.add_subparsers()\n"}, id="options of subcommands"),
        pytest.param({"train.py": OPTIONS + "parser.set_defaults(lr=1, batch_size=1, optim=1, seed=1)\n"}, id="set elsewhere"),
        pytest.param({"train.py": "import model\nmodel.main()\n", "model.py": OPTIONS}, id="of a module with another purpose"),
    ],
)
def test_options_that_are_not_surely_the_programs_are_left_alone(repository, files: dict[str, str]) -> None:
    experiment = written(repository(**files))
    assert (None, "python3 train.py") == (experiment.get("params"), experiment["command"])


def test_options_are_read_where_a_module_is_made_for_them(repository) -> None:
    top = repository(**{"train.py": "import options\nprint(1)\n", "options.py": OPTIONS})
    assert 64 == written(top)["params"]["batch_size"]


def test_a_short_command_with_options_stays_on_its_line(repository) -> None:
    top = repository(**{"train.py": "import argparse\nargparse.ArgumentParser().add_argument('--lr', type=float, default=1)\n"})
    assert ("python3 train.py --lr=${params.lr}", {"lr": 1.0}) == (written(top)["command"], written(top)["params"])


def test_options_of_a_program_in_another_directory_reach_it_through_the_shell(repository) -> None:
    top = repository(**{"tools/fit.py": OPTIONS, "README.md": "cd tools && python fit.py x --lr=1e-2"})
    (top / "train.py").unlink()
    shell = written(top)["command"]
    assert "cd tools && exec python3 fit.py x '--lr=${params.lr}' '--batch-size=${params.batch_size}'" in shell[2]


def test_what_was_not_taken_is_named(repository) -> None:
    top = repository(**{"uv.lock": "", "environment.yml": "", "Dockerfile": "FROM x\n"})
    assert "# also there, and not read: environment.yml, Dockerfile" in experiment_text(read(top))


def test_a_program_that_fetches_gets_a_network_a_cache_and_a_word_about_the_secret(repository) -> None:
    top = repository(**{"model.py": "from transformers import AutoModel\nAutoModel.from_pretrained('bert')\n"})
    found = written(top)
    assert ("bridge", {"huggingface": "/home/user/.cache/huggingface"}) == (found["network"], found["caches"])
    assert "# secrets: [HF_TOKEN]" in experiment_text(read(top))
    assert ["HF_TOKEN"] == written(top, HF_TOKEN="hf_x")["secrets"]
    assert "hf_x" not in experiment_text(read(top, HF_TOKEN="hf_x"))


def test_the_directory_of_a_data_set_is_a_cache(repository) -> None:
    top = repository(**{"model.py": "from torchvision import datasets\ndatasets.MNIST('./data', download=True)\n"})
    assert {"data": "/workspace/data"} == written(top)["caches"]


def test_reports_to_a_service_go_to_disk_where_there_is_no_key(repository) -> None:
    top = repository(**{"model.py": "import wandb\nwandb.init()\n"})
    without, with_key = written(top), written(top, WANDB_API_KEY="k")
    assert ({"WANDB_MODE": "offline"}, None) == (without["env"], without.get("network"))
    assert ("bridge", ["WANDB_API_KEY"], None) == (with_key["network"], with_key["secrets"], with_key.get("env"))


def test_printed_numbers_are_metrics(repository) -> None:
    import re

    patterns = written(repository())["metrics"]["patterns"]
    line = "epoch 1: train loss 0.250, val loss 1e-3"
    values = {name: re.findall(pattern, line) for name, pattern in patterns.items()}
    assert {"train_loss": ["0.250"], "val_loss": ["1e-3"]} == values


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ('print("loss", x)', "loss 0.5", {"loss": ["0.5"]}),
        ('print("Loss: %.4f Acc: %.3f" % (x, y))', "Loss: 0.5 Acc: 0.75", {"loss": ["0.5"], "acc": ["0.75"]}),
        ('print("loss {:.2f} | train loss {}".format(x, y))', "loss 0.5 | train loss 2", {"loss": ["0.5"], "train_loss": ["2"]}),
        ('logger.info(f"val_accuracy={x}")', "val_accuracy=nan", {"val_accuracy": ["nan"]}),
        ('print(f"{name} is done")', "x is done", {}),
    ],
)
def test_patterns_of_every_way_to_print(repository, source: str, line: str, expected: dict[str, list[str]]) -> None:
    import re

    found = written(repository(**{"train.py": f'import torch\n{source}\nif __name__ == "__main__":\n    pass\n'}))
    patterns = (found.get("metrics") or {}).get("patterns") or {}
    assert expected == {name: re.findall(pattern, line) for name, pattern in patterns.items()}


def test_ignored_data_comes_along_and_other_ignored_files_are_named(repository) -> None:
    top = repository(**{".gitignore": "/data/\n.env\n", "data/input.txt": "x" * 100, ".env": "TOKEN=1"})
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    text = experiment_text(read(top))
    assert ["**", "data"] == yaml.safe_load(text)["code"]["include"]
    assert "# git ignores, and so the image has not: `.env` (7 B)" in text


def test_tracked_files_are_not_ignored_whatever_the_rules_say(repository) -> None:
    """As git sees it; a fresh clone has nothing that is ignored."""
    top = repository(**{".gitignore": "/data/\n*.lock\n", "data/input.txt": "x" * 100, "uv.lock": ""})
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    subprocess.run(["git", "add", "-f", "."], cwd=top, check=True)
    experiment = written(top)
    assert ("uv.lock", {"root": "."}) == (experiment["image"]["requirements"], experiment["code"])


def test_what_only_looks_like_a_download_is_none(repository) -> None:
    source = "import numpy as np, data\nnp.average([1], weights=[1])\nNet(weights=w)\ndata.load_data('x')\n"
    assert [] == read(repository(**{"model.py": source})).needs_network


def test_what_a_program_tells_mlflow_is_not_read_off_its_output_again(repository) -> None:
    top = repository(**{"model.py": "import mlflow\nmlflow.log_metric('train loss', 1)\n"})
    assert "metrics" not in written(top)


def test_a_module_named_as_a_stated_requirement_is_no_doubt(repository) -> None:
    top = repository(**{"setup.py": SETUP.replace("torch", "trampoline"), "model.py": "import trampoline\nimport strange\n"})
    assert ["`import strange` (model.py:2): which distribution brings it is not known here"] == read(top).doubts


@pytest.mark.parametrize(
    ("files", "readme", "path"),
    [
        ({"src/pkg/__init__.py": "", "scripts/train.py": "import pkg\n"}, "python scripts/train.py", "/workspace/src"),
        ({"pkg/__init__.py": "", "pkg/train.py": "from pkg.net import x\n", "pkg/net.py": ""}, "python train.py", "/workspace"),
        ({"pkg/__init__.py": "", "pkg/train.py": "from pkg.net import x\n", "pkg/net.py": ""}, "python -m pkg.train", None),
        (
            {"pkg/train.py": "import net\nfrom . import other\n", "pkg/net.py": "", "pkg/other.py": ""},
            "python pkg/train.py",
            None,
        ),
        (
            {"train.py": "import pkg.net\n", "pkg/__init__.py": "", "pkg/net.py": "import horovod, torch, types\n"}
            | dict.fromkeys(("pkg/horovod.py", "pkg/torch.py", "pkg/types.py"), ""),
            "python train.py",
            None,
        ),
    ],
)
def test_modules_that_python_would_not_find_get_a_path(repository, files: dict[str, str], readme: str, path: str | None) -> None:
    top = repository(**{"README.md": readme, **files})
    if "train.py" not in files:
        (top / "train.py").unlink()
    assert path == (written(top).get("env") or {}).get("PYTHONPATH")


@pytest.mark.parametrize(
    "name",
    ["train.py", "README.md", "pyproject.toml", "setup.py", "cog.yaml", "requirements.txt", "environment.yml", "Dockerfile"],
)
@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"[[[[{{{{((((", b"x = '\\\nimport \x00", b"- " * 3000],
    ids=["binary", "brackets", "nul", "deep"],
)
def test_a_file_of_any_content_is_read_without_a_traceback(repository, name: str, content: bytes) -> None:
    top = repository()
    (top / name).write_bytes(content)
    assert yaml.safe_load(experiment_text(read(top)))["code"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(
            "docker build --build-arg BASE=${PARENT} .", ": build.sh:1 gives it `${PARENT}`", id="worked out by a script"
        ),
        pytest.param("docker build .", ", and no `docker build` here gives it a value", id="nowhere"),
    ],
)
def test_an_image_to_start_from_that_nothing_names_is_not_decided(repository, script, said):
    found = read(repository(**{"Dockerfile": "ARG BASE\nFROM $BASE\n", "build.sh": script}))
    assert f"`image.args.BASE`, the image that Dockerfile starts from{said}" in found.doubts
    assert "args" not in yaml.safe_load(experiment_text(found))["image"]


def test_what_the_chosen_configuration_of_a_hydra_program_names_is_needed_too(repository):
    logger = "tensorboard:\n  _target_: lightning.pytorch.loggers.tensorboard.TensorBoardLogger\n"
    top = repository(**{"configs/logger/tensorboard.yaml": logger, "configs/logger/csv.yaml": "", "requirements.txt": "torch\n"})
    words = ["python3", "train.py", "logger=tensorboard", "lr=0.1"]
    chosen = yaml.safe_load(experiment_text(survey(top, "proj", environ={}, gpus=0, stated=words)))
    assert chosen["image"]["requirements"] == ["-r requirements.txt", "lightning", "numpy", "tensorboard"]
    assert chosen["metrics"]["tensorboard"] is True
    other = yaml.safe_load(experiment_text(survey(top, "proj", environ={}, gpus=0, stated=[*words[:2], "logger=csv"])))
    assert other["image"]["requirements"] == ["-r requirements.txt", "numpy"]
    assert "tensorboard" not in other["metrics"]

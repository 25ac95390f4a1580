"""Public repositories, from `git clone` to a recorded run, as a new user would: docs/compatibility.md.

    python tests/bench/compatibility.py --rows /tmp/rows.jsonl > docs/compatibility.md
    python tests/bench/compatibility.py --rows /tmp/rows.jsonl --from '/srv/mirror/{owner}/{name}.git' makemore minGPT

Each is cloned, `launch init` is typed, at most two lines of what it wrote are changed, it is launched and rerun. Nothing of them
is committed here. What was found is kept in the file of rows, the newest of each repository, so that a few can be tried again.
Needs a network, disk for some gigabytes of wheels, and time; who has been there before finds the layers built.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

LIMIT_S = 1800

MNIST = f"""{sys.executable} - <<'END'
import pathlib, random, struct
random.seed(0)
for prefix, count in (("train", 60000), ("t10k", 10000)):
    labels = bytes(random.randrange(10) for _ in range(count))
    images = b"".join(bytes([25 * label]) * 784 for label in labels)
    raw = pathlib.Path("DATA/MNIST/raw")
    raw.mkdir(parents=True, exist_ok=True)
    for kind, magic, shape, content in (("images", 2051, (28, 28), images), ("labels", 2049, (), labels)):
        file = raw / f"{{prefix}}-{{kind}}-idx{{1 + len(shape)}}-ubyte"
        file.write_bytes(struct.pack(f">{{2 + len(shape)}}I", magic, count, *shape) + content)
END"""
"""Gray squares in the format of MNIST, which is fetched by those who have its servers in reach; DATA is the directory."""

CORA = f"""{sys.executable} - <<'END'
import pathlib, random
random.seed(0)
papers = range(1600)
words = lambda: " ".join(random.choice("01") for _ in range(50))
place = pathlib.Path("data/cora")
place.mkdir(parents=True, exist_ok=True)
(place / "cora.content").write_text("".join(f"{{paper}} {{words()}} class{{paper % 7}}\\n" for paper in papers))
(place / "cora.cites").write_text("".join(f"{{paper}} {{random.choice(papers)}}\\n" for paper in papers))
END"""
"""Papers in the format of Cora, which some mirrors leave out for its size."""


class Repository(NamedTuple):
    """A repository, and what of its experiment's file is changed: the whole value of a key, or a line that is added."""

    source: str
    kind: str
    """How it states its environment, and what else is particular."""
    changes: tuple[tuple[str, str], ...] = ()
    why: str = ""
    words: tuple[str, ...] = ()
    """What is typed after `launch experiment=NAME`."""
    program: tuple[str, ...] = ()
    """What is typed after `launch init --`."""
    data: str = ""
    """Makes, in a shell, the data that the program reads or would fetch."""

    @property
    def name(self) -> str:
        return self.source.partition("/")[2]

    @property
    def way(self) -> list[str]:
        """How it is tried, as its row keeps it: a row of another way says nothing about this one."""
        return [
            *self.program,
            *(f"{key}: {value}" for key, value in self.changes),
            *self.words,
            self.data.replace(sys.executable, "python"),
        ]


_SMALL_GPT = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=2 --block_size=64 --n_layer=2 --n_head=2 "
    "--n_embd=64 --max_iters=20"
)
_SMALL_COPY = "--cuda --epochs 1 --blank_len 20 --levels 3 --log-interval 10"
_SMALL_TEMPLATE = "trainer=cpu trainer.max_epochs=1 +trainer.limit_train_batches=20 logger=tensorboard test=False"

REPOSITORIES = (
    Repository(
        "karpathy/makemore",
        "imports only",
        why="it trains without end",
        words=("params.max_steps=30",),
    ),
    Repository(
        "karpathy/minGPT",
        "setup.py",
        (("command", "python3 projects/adder/adder.py --trainer.max_iters=30"),),
        "its adder trains without end",
    ),
    Repository(
        "karpathy/nanoGPT",
        "README's `pip install`",
        (("command", f"[sh, -c, 'python3 data/shakespeare_char/prepare.py && exec python3 train.py {_SMALL_GPT}']"),),
        "its data is prepared first, and 20 steps do",
        data="cat README.md *.py > data/shakespeare_char/input.txt",
    ),
    Repository("mlflow/mlflow-example", "conda.yaml; MLflow"),
    Repository(
        "eriklindernoren/ML-From-Scratch",
        "requirements.txt",
        (("command", "python3 mlfromscratch/examples/k_nearest_neighbors.py"),),
        "the program that README names first is older than NumPy 1.24",
    ),
    Repository(
        "rtqichen/torchdiffeq",
        "setup.py",
        (("metrics", "{patterns: {total_loss: 'Total Loss ([\\d.]+)'}}"),),
        "its example with data of its own",
        program=("python3", "examples/ode_demo.py", "--niters=20", "--test_freq=10"),
    ),
    Repository(
        "greydanus/hamiltonian-nn",
        "imports only",
        why="a shorter one of its experiments",
        program=("python3", "experiment-spring/train.py", "--total_steps=100", "--print_every=20", "--verbose"),
    ),
    Repository("tkipf/pygcn", "setup.py", data=CORA),
    Repository(
        "Diego999/pyGAT",
        "requirements.txt with pins of 2018",
        (("image", "{requirements: [numpy, scipy, torch]}"),),
        "its pins are older than any Python that is to be had",
        words=("params.epochs=2",),
        data=CORA,
    ),
    Repository(
        "spro/char-rnn.pytorch",
        "imports only",
        (
            ("command", "python3 train.py README.md --n_epochs 20 --print_every 10 --chunk_len 50"),
            ("metrics", "{patterns: {loss: '%\\) ([\\d.]+)\\]'}}"),
        ),
        "its data is elsewhere, and its loss has no name",
    ),
    Repository(
        "pyro-ppl/numpyro",
        "pyproject.toml; JAX",
        (("metrics", "{patterns: {acceptance: 'acc. prob=([\\d.]+)'}}"),),
        "a collection of examples",
        program=("python3", "examples/bnn.py", "--num-samples=50", "--num-warmup=50"),
    ),
    Repository(
        "pyro-ppl/pyro",
        "pyproject.toml, setup.py",
        (("metrics", "{patterns: {acceptance: 'acc. prob=([\\d.]+)'}}"),),
        "a collection of examples",
        program=("python3", "examples/lkj.py", "--num-samples=20", "--warmup-steps=20", "--num-chains=1"),
    ),
    Repository(
        "microsoft/LightGBM",
        "imports only; LightGBM",
        (("metrics", "{patterns: {rmse: 'RMSE of prediction is: ([\\d.]+)'}}"),),
        "a collection of examples",
        program=("python3", "examples/python-guide/simple_example.py"),
    ),
    Repository(
        "dmlc/xgboost",
        "imports only; XGBoost",
        why="a collection of examples",
        program=("python3", "demo/guide-python/generalized_linear_model.py"),
    ),
    Repository(
        "pytorch/examples",
        "requirements.txt beside each example",
        why="a collection of examples",
        program=("sh", "-c", "cd mnist && python3 main.py --dry-run --epochs=1"),
        data=MNIST.replace("DATA", "data"),
    ),
    Repository(
        "locuslab/TCN",
        "imports only",
        why="a collection of experiments",
        program=("sh", "-c", f"cd TCN/copy_memory && python3 copymem_test.py {_SMALL_COPY}"),
    ),
    Repository(
        "ashleve/lightning-hydra-template",
        "requirements.txt; Hydra's conf/, Lightning",
        why="20 batches, a logger, and no test, which is older than torch 2.6",
        program=("python3", "src/train.py", *_SMALL_TEMPLATE.split()),
        data=MNIST.replace("DATA", "data"),
    ),
    Repository(
        "victoresque/pytorch-template",
        "requirements.txt; TensorBoard",
        (("timeout", "3m"),),
        "it trains a hundred epochs, and is older than pandas 3",
        words=('image.requirements=["-r requirements.txt","pandas<3"]',),
        data=MNIST.replace("DATA", "data"),
    ),
    Repository(
        "skorch-dev/skorch",
        "pyproject.toml",
        (
            ("image", '{requirements: ["-r pyproject.toml", fire, numpydoc, torch]}'),
            ("metrics", "{patterns: {train_loss: '^ +\\d+ +([\\d.]+)'}}"),
        ),
        "a collection of examples, and a table of losses",
        program=("sh", "-c", "cd examples/cli && python3 train.py net --max_epochs=3"),
    ),
    Repository(
        "keras-team/keras",
        "requirements.txt",
        (
            ("command", "env KERAS_BACKEND=torch python3 examples/demo_functional.py"),
            ("metrics", "{patterns: {loss: '\\bloss: ([\\d.]+)'}}"),
        ),
        "a collection of examples",
        words=("image.requirements=[keras,torch]",),
    ),
    Repository("vwxyzjn/cleanrl", "uv.lock for Python 3.10"),
    Repository("326-T/mlflow-sample", "poetry.lock, .python-version"),
    Repository("hill-a/stable-baselines", "Dockerfile"),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--from", dest="source", default="https://github.com/{owner}/{name}", help="where to clone from")
    options.add_argument("--rows", type=Path, required=True, help="where the results are kept, a line each")
    options.add_argument("names", nargs="*", help="of the repositories; all of them otherwise, and - for none")
    chosen = options.parse_args()
    for repository in REPOSITORIES:
        if not chosen.names or repository.name in chosen.names:
            with TemporaryDirectory(prefix="compatibility-") as directory, chosen.rows.open("a") as rows:
                row = tried(repository, chosen.source, Path(directory))
                print(json.dumps(row), file=rows, flush=True)
            print(f"{repository.name}: {row}", file=sys.stderr, flush=True)
    found = [json.loads(line) for line in chosen.rows.read_text().splitlines()]
    newest = {row["source"]: row for row in found}
    rows = [(repository, newest.get(repository.source, {})) for repository in REPOSITORIES]
    print(page([row for repository, row in rows if row.get("way") == repository.way]))


def tried(repository: Repository, source: str, directory: Path) -> dict[str, Any]:
    """Clone, init, launch, rerun; what came of it."""
    owner, _, name = repository.source.partition("/")
    begun, begun_at = time.monotonic(), time.time()
    row: dict[str, Any] = {"source": repository.source, "way": repository.way}
    top = directory / name
    cloned = typed("git", "clone", "-q", source.format(owner=owner, name=name), name, cwd=directory, check=False)
    if not top.is_dir():
        return row | {"status": "not cloned", "said": last_words(cloned.stderr)}
    if repository.data:
        typed("sh", "-c", repository.data, cwd=top)
    proposed = typed("launch", "init", *(["--", *repository.program] if repository.program else []), cwd=top, check=False)
    if proposed.returncode:
        return row | {"status": "not proposed", "said": last_words(proposed.stderr)}
    file = top / proposed.stdout.strip()
    row["lines"] = len([line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")])
    file.write_text(changed(file.read_text(), repository.changes))
    done = typed("launch", f"experiment={name}", *repository.words, cwd=top, check=False)
    row["seconds"] = round(time.monotonic() - begun)
    made = re.search(r"launch (?:rerun|logs) (\w{6})\b", done.stderr)
    if made is None:
        return row | {"status": "not started", "said": last_words(done.stderr)}
    run = made[1]
    record = json.loads(typed("launch", "runs", "show", run, "--json", cwd=top).stdout)
    row |= {"status": f"{record['status']} ({record['reason']})", "metrics": len(record["metrics"]), "files": outputs(top, run)}
    if (first := first_metric_at(Path(record["run_dir"]))) is not None:
        row["first"] = round(first - begun_at)
    if record["status"] != "FINISHED":
        return row | {"said": last_words(typed("launch", "logs", run, cwd=top, check=False).stderr or done.stderr)}
    again = typed("launch", "rerun", run, "--verify", cwd=top, check=False)
    found = re.search(r"^rerun \w+ of \w+: (.*)$", again.stderr, re.MULTILINE)
    return row | {"verdict": found[1] if found else f"exit code {again.returncode}"}


def changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    """*text* with other values for its keys; a block that a key had goes with it."""
    for key, value in changes:
        line = f"{key}: {value}"
        text, count = re.subn(rf"^{key}:.*(?:\n[ \t].*)*$", lambda _, line=line: line, text, flags=re.MULTILINE)
        text = text if count else f"{text}{line}\n"
    return text


def outputs(top: Path, run: str) -> int:
    directory = Path(typed("launch", "outputs", run, cwd=top).stdout.strip())
    return sum(path.is_file() for path in directory.rglob("*"))


def first_metric_at(run_dir: Path) -> float | None:
    """When the first of a run's metrics was logged, in seconds since the epoch."""
    files = [run_dir / name for name in ("metrics.jsonl", "logged.jsonl")]
    lines = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines() if line]
    return min((line["time"] / 1000 for line in lines if "key" in line), default=None)


def typed(*words: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, check=check, capture_output=True, text=True, timeout=LIMIT_S)


def last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"error:|\w*Error\b", line)]
    return (errors or lines or ["it said nothing"])[-1][:150]


def page(rows: list[dict[str, Any]]) -> str:
    """The page, whole."""
    trained = [row for row in rows if row.get("metrics")]
    lines = [
        "# Repositories that were tried",
        "",
        f"From `git clone` over `launch init` to a recorded run: {len(trained)} of {len(rows)} recorded metrics.",
        "Written by [tests/bench/compatibility.py](../tests/bench/compatibility.py), which clones them when it runs, makes a few",
        "changes to what `launch init` wrote, and says for whom it made data that is elsewhere. What is typed, in each:",
        "",
        "```text",
        "git clone https://github.com/karpathy/makemore && cd makemore",
        "launch init",
        "launch experiment=makemore",
        "launch rerun @last --verify",
        "```",
        "",
        "Seconds count from the first of these lines, on two busy cores; layers that another repository had built are there.",
        "A rerun differs where a program has no seed, and where what it prints hangs on time: a progress bar, racing threads.",
        "No registry of images was in reach.",
        "",
        "| repository | its environment | lines | changed | first metric | end | how it ended | metrics | files | rerun |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    known = {repository.source: repository for repository in REPOSITORIES}
    for row in rows:
        repository = known[row["source"]]
        change = f"{len(repository.changes) or 'none'}{'; ' if repository.why else ''}{repository.why}"
        change += f"; init: `-- {shlex.join(repository.program)}`" if repository.program else ""
        change += f"; typed: `{' '.join(repository.words)}`" if repository.words else ""
        change += "; data was made" if repository.data else ""
        said = f": {row['said']}" if "said" in row and "timeout" not in row["status"] else ""
        first, end = (f"{row[key]} s" if key in row else "" for key in ("first", "seconds"))
        cells = (repository.kind, row.get("lines", ""), change, first, end, f"{row['status']}{said}")
        more = (row.get("metrics", ""), row.get("files", ""), row.get("verdict", ""))
        shown = (str(cell).replace("|", "\\|") for cell in (row["source"], *cells, *more))
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Tutorial and guides are typed from top to bottom, as by a reader; what they show is what is printed, but for ids and numbers.

A block is a session (`console`: what stands behind `$ ` is typed, the rest is printed), lines to type (`sh`, or indented), a file
to write (`title="…"`), a configuration (`yaml`) or a program (`python`). One that can't be executed says why, in a comment above
it that no reader sees: `<!-- not run: needs a GPU -->`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from launch_command import REPOSITORY, Launch, write_project
from server_peer import stop_server

from launcher.config.compiled import load
from runtime.state_dir import StateDir

DOCS = REPOSITORY / "docs"
TUTORIAL = DOCS / "guides/tutorial.md"
PAGES = [REPOSITORY / "README.md", *sorted({*DOCS.glob("guides/*.md")} - {TUTORIAL})]

_BLOCK = re.compile(
    r"^ *<!-- not run: (?P<marked>.+) -->\n"
    r"|^(?P<margin> *)```(?P<info>.*)\n(?P<fenced>(?:.*\n)*?)(?P=margin)```$"
    r"|(?<=^\n)(?P<indented>(?:^(?: {4}.*)?\n)+)",
    re.MULTILINE,
)
_RUN = {"console", "sh", "python"}
_PLACEHOLDERS = re.compile(r"\b(RUN|SWEEP|IMAGE|NAME|DIR|FILE)\b")
_END = "\x1e"

DIGITS = """\
# @package _global_
image: {requirements: [tqdm]}
code: {root: experiments/digits}
command: python3 digits.py ${params.lr}
params: {lr: 0.01, batch_size: 64}
cpus: 1
memory: 256MiB
sweep:
  metric: val_accuracy
  direction: maximize
  space:
    params: {lr: "tag(log, interval(1e-4, 1e-1))", batch_size: "choice(32, 64, 128)"}
"""
PROGRAM = """\
import json, os, sys
lr = float(sys.argv[1])
for step in (1, 2):
    with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
        values = {"loss": lr / step, "accuracy": 1 - lr, "val_loss": lr, "val_accuracy": 1 - lr}
        metrics.write(json.dumps({"step": step, **values}) + "\\n")
print("lr is", lr)
"""


@dataclass(frozen=True)
class Block:
    place: str
    kind: str
    """The word behind its fence; what is indented is `sh`."""
    title: str | None
    text: str
    excuse: str | None


@dataclass
class Typed:
    command: str
    shown: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        return any(line.startswith(("error:", "✘")) for line in self.shown)


def blocks(page: Path) -> Iterator[Block]:
    text, excuse = page.read_text(), None
    for found in _BLOCK.finditer(text):
        place = f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}"
        if found["marked"]:
            assert excuse is None, f"{place}: two excuses for one block"
            excuse = found["marked"]
        elif (written := dedent(found["fenced"] or found["indented"])).strip():
            info = "sh" if found["fenced"] is None else found["info"]
            title = re.search(r'title="(.+)"', info)
            yield Block(place, info.partition(" title=")[0], title and title[1], written, excuse)
            excuse = None
    assert excuse is None, f"{page.name}: an excuse without a block"


def to_type(block: Block) -> list[Typed]:
    """What a shell is given for a block."""
    if block.title:
        return [Typed(f"mkdir -p {Path(block.title).parent} && cat > {block.title} <<'EOF'\n{block.text}EOF")]
    if block.kind == "python":
        return [Typed(f"python3 - <<'EOF'\n{block.text}EOF")]
    if block.kind == "sh":
        lines = (line.replace(" · ", " && ") for line in block.text.splitlines())
        return [Typed(_PLACEHOLDERS.sub(r"$\1", line)) for line in lines if line.strip()]
    typed: list[Typed] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            typed.append(Typed(line[2:]))
        else:
            typed[-1].shown.append(line)
    return typed


def typed_lines(page: Path) -> list[Typed]:
    return [line for block in blocks(page) if not block.excuse and (block.kind in _RUN or block.title) for line in to_type(block)]


def words(line: str) -> list[str]:
    """What is the same on another machine and day: no number, id or path."""
    return re.findall(r"[^\W\d_]{3,}", re.sub(r"\S*\d\S*|\b[0-9a-f]{6,}\b|\S*[~/]\S*", " ", line))


def unprinted(shown: Sequence[str], printed: str) -> list[str]:
    """Lines of a page that were not printed, in that order; there may be more between them and at their ends."""
    rest = iter([words(line) for line in printed.splitlines()])
    return [line for line in shown if (said := words(line)) and not any(said == told[: len(said)] for told in rest)]


def play(typed: Sequence[Typed], launch: Launch, **variables: str) -> None:
    """Type all of it into one shell, and fail where something goes otherwise than the page says."""
    script = launch.project / ".typed.sh"
    script.write_text("".join(f"{line.command}\nprintf '\\n{_END}%s\\n' $?\n" for line in typed))
    environment = {**launch.env(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    shell = ["bash", "--noprofile", "--norc", str(script)]
    told = subprocess.run(
        shell,
        cwd=launch.project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=-1,
        stderr=-2,
        text=True,
        timeout=900,
        check=False,
    ).stdout
    parts = re.split(rf"\n{_END}(\d+)\n", told)
    wrong = []
    for line, printed, code in zip(typed, parts[::2], parts[1::2], strict=False):
        missing = unprinted(line.shown, printed)
        if (code != "0") is not line.fails or missing:
            wrong.append(f"$ {line.command}\nexit code {code}; not printed: {missing}; printed:\n{printed}")
    assert not wrong, "\n\n".join(wrong)
    assert len(parts) == 2 * len(typed) + 1, f"the shell ended: {parts[-1]}"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Launch]:
    """Nothing was ever launched, in an empty directory."""
    (tmp_path / "empty").mkdir()
    yield Launch(tmp_path / "home", tmp_path / "empty")
    stop_server(StateDir(tmp_path / "home"))


@pytest.mark.requires("overlayfs", "userns")
@pytest.mark.any_user
def test_the_tutorial_is_what_happens_to_who_types_it(fresh: Launch) -> None:
    assert [] == [block.place for block in blocks(TUTORIAL) if block.excuse], "every block of the tutorial is run"
    play(typed_lines(TUTORIAL), fresh)


@pytest.fixture(scope="module")
def scene(session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the guides speak of: an experiment `digits`, a run, a sweep, an image."""
    project = write_project(tmp_path_factory.mktemp("scene"), "digits", experiment=DIGITS, program=PROGRAM)
    launch = Launch(session_home, project)
    run = launch("-d", "experiment=digits", "tracking=none").stdout.strip()
    sweep = launch("-d", "-m", "experiment=digits", "params.lr=0.1,0.01", "tracking=none").stdout.strip()
    launch("wait", run)
    launch("experiment=digits", "params.lr=none", "tracking=none", check=1)
    launch("wait", sweep)
    return {
        "RUN": run,
        "SWEEP": sweep,
        "IMAGE": "digits",
        "NAME": "digits",
        "DIR": "saved",
        "FILE": "saved.tar",
        "PROJECT": str(project),
    }


@pytest.mark.requires("overlayfs", "userns")
@pytest.mark.any_user
@pytest.mark.parametrize("page", [page for page in PAGES if typed_lines(page)], ids=lambda page: page.stem)
def test_what_a_page_lets_type_works(page: Path, scene: dict[str, str], session_home: Path, tmp_path: Path) -> None:
    project = write_project(tmp_path, "digits", experiment=DIGITS, program=PROGRAM)
    metrics = {"LAUNCH_METRICS": str(tmp_path / "metrics.jsonl")}
    sync = Typed("launch sync")  # or what sends to MLflow would be left behind
    play([*typed_lines(page), sync], Launch(session_home, project), **scene, **metrics)


@pytest.mark.any_user
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_configuration_on_a_page_is_an_experiment(page: Path, tmp_path: Path) -> None:
    conf = write_project(tmp_path, "digits", experiment=DIGITS) / "conf"
    (conf / "image").mkdir()
    (conf / "image/NAME.yaml").write_text("python: '3.12'\n")
    for number, block in enumerate(blocks(page)):
        if block.kind != "yaml" or block.excuse:
            continue
        needed = {"code": "code: {root: .}\n", "command": "command: 'true'\n"}
        given = yaml.safe_load(block.text)
        text = "# @package _global_\n" + "".join(line for key, line in needed.items() if key not in given) + block.text
        name = Path(block.title or f"block{number}").stem
        (conf / f"experiment/{name}.yaml").write_text(text)
        composed = load(
            [f"experiment={name}"],
            config_dir=None,
            cwd=tmp_path,
            state=StateDir(tmp_path / "home"),
            environ={"HOME": str(tmp_path)},
        )
        assert composed, block.place


@pytest.mark.any_user
def test_each_block_of_a_page_is_executed_or_says_why_not() -> None:
    kinds = {*_RUN, "yaml", "python notebook"}  # a notebook's: test_python_interface.py
    assert [] == [
        block.place for page in (TUTORIAL, *PAGES) for block in blocks(page) if not block.excuse and block.kind not in kinds
    ]

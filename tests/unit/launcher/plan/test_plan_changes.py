"""What changed from one build to the next, in the words that `launch plan` shows."""

from __future__ import annotations

import pytest

from launcher.plan.plan_changes import plan_changes
from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.plan import (
    BuildPlan,
    ContextFiles,
    CopyFiles,
    CopyIn,
    DebPackage,
    FetchedFile,
    ImageConfig,
    ImportImage,
    InlineFiles,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.light_dataclasses import replace
from runtime.oci.digest import Digest

ONE, TWO = (Digest("sha256:" + digit * 64) for digit in "12")
APT, BASH = (DebPackage(name, "1", "amd64", "main", f"pool/{name}.deb", 5, name[0] * 64) for name in ("apt", "bash"))
DEBIAN = UnpackDebs("trixie", (APT, BASH))
PYTHON = "cpython-3.13.5-aaaaaaaaaaaa"
VENV = MakeVenv(PYTHON, "/usr/bin/python3.13", "3.13.5")
NUMPY = InstallWheel("numpy", "2.3", "a" * 64, "numpy-2.3.whl", PYTHON, "3.13")
HUMANIZE = InstallWheel("humanize", "4.13.0", "b" * 64, "humanize-4.13.0.whl", PYTHON, "3.13")
IMAGE = ImportImage("docker.io/library/python:3.13", ONE)


def run(command: str, **fields: object) -> RunCommand:
    return replace(RunCommand(("/bin/sh", "-ec", command), label=command), **fields)


def code(**files: str) -> CopyIn:
    return CopyIn("/src", tuple((f"{name}.py", 0o644, text * 64) for name, text in sorted(files.items())), "/workspace", ONE)


def copy(source: object, **fields: object) -> CopyFiles:
    return replace(CopyFiles(source, "/app/", label="COPY . /app/"), **fields)


def context(**files: str) -> ContextFiles:
    return ContextFiles("/context", tuple((f"src/{name}", name, 0o644, text * 64) for name, text in files.items()), single=False)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        pytest.param(NUMPY, NUMPY, [], id="nothing"),
        pytest.param(NUMPY, replace(NUMPY, version="2.4", sha256="c" * 64), ["requirements: numpy 2.3 → 2.4"], id="a version"),
        pytest.param(
            NUMPY,
            replace(NUMPY, sha256="c" * 64),
            ["requirements: numpy 2.3 is another file (sha256 aaaaaaaaaaaa → cccccccccccc)"],
            id="a wheel that was published anew",
        ),
        pytest.param(NUMPY, replace(NUMPY, interpreter="cpython-3.13.6-b"), ["python: 3.13.5 → 3.13.6"], id="another Python"),
        pytest.param(
            VENV,
            replace(VENV, interpreter="cpython-3.13.5-b"),
            ["python: another build of 3.13.5 (aaaaaaaaaaaa → b)"],
            id="the same Python, built anew",
        ),
        pytest.param(
            VENV,
            replace(VENV, system_site_packages=True),
            ["python: the base's own packages can be imported"],
            id="packages of the base",
        ),
        pytest.param(
            IMAGE,
            replace(IMAGE, manifest_digest=TWO),
            ["base: `docker.io/library/python:3.13` now points to sha256:222222222222, was sha256:111111111111"],
            id="a tag that was moved",
        ),
        pytest.param(
            IMAGE,
            replace(IMAGE, reference="python:3.14", manifest_digest=TWO),
            ["base: docker.io/library/python:3.13 (sha256:111111111111) → python:3.14 (sha256:222222222222)"],
            id="another base image",
        ),
        pytest.param(IMAGE, replace(IMAGE, reference="oci:copy"), [], id="the same image from another place"),
        pytest.param(
            DEBIAN, IMAGE, ["base: debian trixie → docker.io/library/python:3.13 (sha256:111111111111)"], id="a base of ours"
        ),
        pytest.param(DEBIAN, replace(DEBIAN, suite="bookworm"), ["base: debian trixie → bookworm"], id="another suite"),
        pytest.param(
            DEBIAN,
            replace(DEBIAN, packages=(replace(APT, version="2", sha256="1" * 64), replace(BASH, name="dash", sha256="2" * 64))),
            ["base: apt 1 → 2, + dash 1, - bash 1"],
            id="packages of a base",
        ),
        pytest.param(
            code(train="1", old="2", same="3"),
            code(train="9", new="2", same="3"),
            ["code: train.py changed, + new.py, - old.py"],
            id="code",
        ),
        pytest.param(
            code(a="1"),
            replace(code(a="1"), files=(("a.py", 0o755, "1" * 64),)),
            ["code: a.py mode 0644 → 0755"],
            id="a file's mode",
        ),
        pytest.param(code(), replace(code(), target="/work"), ["code: /workspace → /work"], id="where the code lies"),
        pytest.param(
            run("make"),
            run("make  all"),
            ["image.run: command changed from `make` to `make all`"],
            id="a command of an experiment",
        ),
        pytest.param(
            run("make", argv=("/bin/sh", "-c", "make")),
            run("make", argv=("/bin/bash", "-c", "make"), network="host", user="ada", cwd="/src"),
            [
                "RUN: command changed from `make` to `make`",
                "RUN: network none → host",
                "RUN: directory / → /src",
                "RUN: user (none) → ada",
            ],
            id="a RUN",
        ),
        pytest.param(
            run("make", env=(("A", "1"), ("B", "1"))),
            run("make", env=(("A", "2"), ("C", "3"))),
            ["image.run: env A changed from `1` to `2`", "image.run: env + C=3", "image.run: env - B"],
            id="variables by name",
        ),
        pytest.param(
            run("make", mounts=(RunMount("bind", "/src", files=(("a", 0o644, "1" * 64),)), RunMount("cache", "/c"))),
            run("make", mounts=(RunMount("bind", "/src", files=(("a", 0o644, "2" * 64),)), RunMount("secret", "/s"))),
            ["image.run: mount + secret at /s", "image.run: mount - cache at /c", "image.run: mount at /src: a changed"],
            id="mounts",
        ),
        pytest.param(copy(context(a="1", b="1")), copy(context(a="2", c="1")), ["COPY /app/: a changed, + c, - b"], id="COPY"),
        pytest.param(
            copy(context(a="1")),
            copy(context(a="1"), owner="ada", mode=0o600),
            ["COPY /app/: owner (none) → ada, mode (none) → 0600"],
            id="COPY --chown --chmod",
        ),
        pytest.param(
            copy(FetchedFile("http://x/f", ONE, "f"), label="[2/5] ADD http://x/f /app/"),
            copy(FetchedFile("http://x/f", TWO, "f"), label="[2/5] ADD http://x/f /app/"),
            ["ADD /app/: http://x/f sha256:111111111111 → sha256:222222222222"],
            id="ADD from an address",
        ),
        pytest.param(
            copy(InlineFiles((("f", "x"),))), copy(InlineFiles((("f", "y"),))), ["COPY /app/: f changed"], id="a here-document"
        ),
        pytest.param(
            copy(StageFiles(0, ("a",))),
            copy(context(a="1")),
            ["COPY /app/: copies from another kind of source"],
            id="another source",
        ),
        pytest.param(MakeDirectory("/a"), MakeDirectory("/b"), ["WORKDIR: /a → /b"], id="WORKDIR"),
    ],
)
def test_a_step_that_changed(before: Step, now: Step, words: list[str]) -> None:
    stages = ((MakeDirectory("/s"),),)
    assert (
        tuple(words)
        == plan_changes(
            BuildPlan((before,), ImageConfig(), stages=stages), BuildPlan((now,), ImageConfig(), stages=stages)
        ).steps[0]
    )


def changes(before: list[Step], now: list[Step]) -> tuple[str, ...]:
    return plan_changes(BuildPlan(tuple(before), ImageConfig()), BuildPlan(tuple(now), ImageConfig())).all


def test_what_came_and_what_went() -> None:
    assert ("requirements: + humanize 4.13.0",) == changes([DEBIAN, NUMPY], [DEBIAN, HUMANIZE, NUMPY])
    assert ("requirements: - humanize 4.13.0",) == changes([DEBIAN, HUMANIZE, NUMPY], [DEBIAN, NUMPY])
    assert ("code: - /workspace",) == changes([DEBIAN, code()], [DEBIAN])


def test_a_command_between_others_is_new_and_the_others_are_as_they_were() -> None:
    assert ("image.run: + `b`",) == changes([run("a"), run("c")], [run("a"), run("b"), run("c")])
    assert ("image.run: - `b`",) == changes([run("a"), run("b"), run("c")], [run("a"), run("c")])


def test_an_edited_command_is_one_change() -> None:
    assert ("image.run: command changed from `b` to `B`",) == changes([run("a"), run("b")], [run("a"), run("B")])


def test_the_same_command_twice_is_paired_in_order() -> None:
    added = UnpackDebs("trixie", (BASH,), onto_base=True)
    assert ("image.apt: + bash 1",) == changes([DEBIAN, CONFIGURE], [DEBIAN, CONFIGURE, added, CONFIGURE])


def test_a_change_in_a_stage_is_one_of_the_steps_that_take_files_from_it() -> None:
    def plan(command: str) -> BuildPlan:
        stages: tuple[tuple[Step, ...], ...] = ((IMAGE, run(command)), (copy(StageFiles(0, ("bin",))),))
        return BuildPlan((IMAGE, copy(StageFiles(1, ("bin",))), code()), ImageConfig(), stages=stages)

    found = plan_changes(plan("make"), plan("make all"))
    assert ((), ("stage 0, image.run: command changed from `make` to `make all`",), ()) == found.steps


def test_a_stage_goes_by_its_name_where_steps_are_labelled_with_it() -> None:
    def plan(command: str) -> BuildPlan:
        return BuildPlan((copy(StageFiles(0, ("bin",))),), ImageConfig(), stages=((run(command, label="[tools 1/2] RUN x"),),))

    assert ("stage tools, image.run: command changed from `a` to `b`",) == plan_changes(plan("a"), plan("b")).steps[0]


def test_the_configuration_changes_without_a_layer() -> None:
    before = ImageConfig(env={"A": "1"}, workdir="/a")
    now = ImageConfig(env={"A": "2", "B": "1"}, workdir="/b", user="ada", entrypoint=("python3",))
    found = plan_changes(BuildPlan((), before), BuildPlan((), now))
    assert (
        "env: A changed from `1` to `2`",
        "env: + B=1",
        "workdir: /a → /b",
        "ENTRYPOINT: (none) → python3",
        "USER: (none) → ada",
    ) == found.config

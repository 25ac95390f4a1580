"""What a person sees of images: why a layer is made, what an image is made of, how two differ, what software is in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, PROGRAM, Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]


@pytest.fixture
def launch(session_home: Path, tmp_path: Path) -> Launch:
    """A project of its own, with the session's base."""
    name = f"looked-at-{tmp_path.name}"
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / f"conf/experiment/{name}.yaml").write_text(EXPERIMENT)
    (tmp_path / "experiments/probe").mkdir(parents=True)
    # Code of its own: two experiments with the same content have one image.
    (tmp_path / "experiments/probe/probe.py").write_text(f"{PROGRAM}# {name}\n")
    return Launch(session_home, tmp_path)


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    return f"looked-at-{tmp_path.name}"


def whys(launch: Launch, *arguments: str) -> dict[str, list[str]]:
    """Label of each missing layer → why."""
    layers = json.loads(launch("plan", *arguments, "--json").stdout)["layers"]
    return {layer["label"]: layer["why"] for layer in layers if not layer["hit"]}


def test_plan_says_what_changed_since_the_last_build(launch: Launch, experiment: str) -> None:
    name = f"experiment={experiment}"
    assert "there is no earlier build of this experiment here" in launch("plan", name).stdout
    image = json.loads(launch("build", name, "--json").stdout)["image_digest"]
    assert f"changed  nothing (since image {image[7:19]})" in launch("plan", name).stdout
    (launch.project / "experiments/probe/probe.py").write_text(PROGRAM)
    (launch.project / "experiments/probe/new.py").write_text("")
    changed = "code: probe.py changed, + new.py"
    assert {"code in /workspace (2 files)": [changed]} == whys(launch, name)
    env = "image.env={LOOKED: at}"
    assert f"changed  {changed}; env: + LOOKED=at (since image {image[7:19]})" in launch("plan", name, env).stdout


def test_a_command_is_compared_with_the_one_that_was_there(launch: Launch, experiment: str) -> None:
    name = f"experiment={experiment}"
    launch("build", name, 'image.run=["echo one > /one", "echo two > /two"]')
    found = whys(launch, name, 'image.run=["echo 1 > /one", "echo two > /two"]')
    assert {
        "echo 1 > /one": ["image.run: command changed from `echo one > /one` to `echo 1 > /one`"],
        "echo two > /two": ["is made on what changed below: image.run"],
    } == found
    assert "image.run: - `echo two > /two`" in launch("plan", name, 'image.run=["echo one > /one"]').stdout


def test_show_and_history_of_an_image_that_ran(launch: Launch, experiment: str) -> None:
    launch(f"experiment={experiment}")
    record = launch.record()
    shown = json.loads(launch("images", "show", experiment, "--json").stdout)
    assert (record["image_digest"], [experiment]) == (shown["image_digest"], shown["names"])
    assert record["run_id"] in [run["run_id"] for run in shown["runs"]]
    assert ("bootstrap:debian/trixie", experiment) == (shown["base"]["reference"], shown["recipe"]["experiment"])
    text = launch("images", "show", experiment).stdout
    assert all(
        words in text for words in (record["run_id"], "bootstrap:debian/trixie", "workdir     /workspace", "code in /workspace")
    )
    steps = json.loads(launch("images", "history", experiment, "--json").stdout)
    assert "launch: code in /workspace (1 files)" == steps[0]["created_by"]
    assert [layer["size_bytes"] for layer in shown["layers"]] == [step["size_bytes"] for step in reversed(steps)]
    assert "debian trixie" in launch("images", "history", experiment).stdout.splitlines()[-1]


def test_show_has_all_that_an_image_tells_its_container(launch: Launch) -> None:
    (launch.project / "Dockerfile").write_text(
        "FROM scratch\nCOPY Dockerfile /\nVOLUME /data\nEXPOSE 80/tcp\nSTOPSIGNAL SIGINT\n"
        "HEALTHCHECK --interval=30s --retries=3 CMD check me\nONBUILD COPY . /app\nONBUILD RUN make\n"
    )
    launch("build", "-q", "-t", "telling", ".")
    shown = launch("images", "show", "telling").stdout
    rows = [
        ("volumes", "/data"),
        ("ports", "80/tcp"),
        ("stop signal", "SIGINT"),
        ("health", "check me (every 30 s, retries: 3)"),
        ("onbuild", "COPY . /app"),
        ("", "RUN make"),
    ]
    assert all(f"  {name:<11} {value}\n" in shown for name, value in rows), shown


def test_the_bill_of_materials_is_with_the_image_and_with_the_run(launch: Launch, experiment: str) -> None:
    launch("build", f"experiment={experiment}")
    before_a_run = json.loads(launch("images", "sbom", experiment).stdout)
    launch(f"experiment={experiment}")
    record = launch.record()
    bill = json.loads(launch("images", "sbom", experiment).stdout)
    assert before_a_run == bill
    assert record["image_digest"] == bill["metadata"]["component"]["version"]
    python = next(component for component in bill["components"] if component["name"] == "python3-minimal")
    assert python["purl"].startswith("pkg:deb/debian/python3-minimal@3.13")
    assert "SHA-256" == python["hashes"][0]["alg"]
    assert bill == json.loads((launch.home / "runs" / record["run_id"] / "sbom.json").read_text())


def test_diff_names_packages_settings_and_files(launch: Launch, experiment: str) -> None:
    name = f"experiment={experiment}"
    commands = ("mkdir /made", "echo 1 > /made/a", "rm /etc/issue", "chmod 600 /etc/issue.net")
    changed = ("image.env={LOOKED: at}", f"image.run={json.dumps(commands)}")
    before, after = (json.loads(launch("build", name, "--json", *more).stdout)["image_digest"] for more in ((), changed))
    found = json.loads(launch("diff", before, after, "--json").stdout)
    assert [] == found["packages"]
    assert [{"name": "Env LOOKED", "before": None, "after": "at"}] == found["config"]
    files = {each["path"]: (each["difference"], each["changes"]) for each in found["files"]}
    assert {
        "made": ("added", {}),
        "made/a": ("added", {}),
        "etc/issue": ("removed", {}),
        "etc/issue.net": ("changed", {"mode": ["0644", "0600"]}),
    } == {path: files[path] for path in ("made", "made/a", "etc/issue", "etc/issue.net")}
    text = launch("diff", before[7:19], after[7:19]).stdout
    assert "+ made/  (1 file, 2 B)" in text
    assert "+ Env LOOKED at" in text
    assert "the same image" in launch("diff", before, before).stdout


def test_mistakes_are_said_with_what_was_meant(launch: Launch, experiment: str) -> None:
    assert "`nope` is neither a run nor an image" in launch("diff", "nope", "nope", check=2).stderr
    assert "did you mean `launch images show`?" in launch("images", "shwo", "x", check=2).stderr
    assert "`launch images show 0123abcd` shows it" in launch("images", "0123abcd", check=2).stderr
    assert "arguments are required: IMAGE" in launch("images", "show", check=2).stderr
    assert "unrecognized arguments: --explain" in launch("plan", f"experiment={experiment}", "--explain", check=2).stderr

"""An experiment with a Dockerfile, from the files of a project to its plan: a recorded Debian base, nothing built, no network."""

from __future__ import annotations

import json

import pytest

from launcher.config.compiled import load
from launcher.config.spec import Image
from launcher.errors import ConfigError
from launcher.plan.bases.debian_record import BASE_PACKAGES, _Archive
from launcher.plan.bases.pinning import Pinning
from launcher.plan.plan_json import from_document, to_document
from launcher.plan.planner import plan, with_spec
from runtime.build.plan import CopyFiles, CopyIn, MakeDirectory, MakeVenv, RunCommand, UnpackDebs
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir

ENVIRON = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LAUNCH_DEBIAN_MIRROR": "file:/nonexistent none", "TOKEN": "t0p"}
DOCKERFILE = """\
FROM bootstrap:debian/trixie AS build
WORKDIR /src
COPY lib/ .
RUN make

FROM bootstrap:debian/trixie
ARG MODE=fast
LABEL stage=final
RUN --mount=type=secret,id=TOKEN setup $MODE
WORKDIR /app
COPY --from=build /src/out/ .
COPY train.py .
USER app
ENTRYPOINT ["python3", "train.py"]
CMD ["--epochs", "3"]
"""
DEBS = [
    ["libc6", "2.41-12", "amd64", "main", "pool/l.deb", 5, "a" * 64],
    ["python3.13-minimal", "3.13.5-2", "amd64", "main", "pool/p.deb", 5, "b" * 64],
]


@pytest.fixture
def project(tmp_path):
    files = {
        "conf/experiment/x.yaml": "# @package _global_\nimage: {dockerfile: docker/Dockerfile}\ncpus: 1\n",
        "docker/Dockerfile": DOCKERFILE,
        "docker/train.py": "print(1)\n",
        "docker/lib/a.c": "int a;\n",
        "docker/notes.txt": "not copied\n",
        "src/own.py": "print(2)\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def make(tmp_path, project):
    state = StateDir(tmp_path / "state").ensure()
    archive = _Archive("trixie", Image(), Pinning(state, ENVIRON))
    record = archive.record(BASE_PACKAGES, ())
    record.parent.mkdir()
    record.write_text(json.dumps({"debs": DEBS}))

    def make(*overrides, command=None, image=None):
        composed = load(["experiment=x", *overrides], config_dir=None, cwd=project, state=state, environ=ENVIRON, command=command)
        return plan(composed, state=state, environ=ENVIRON, image=image)

    return make


def test_command_working_directory_and_user_are_the_image_s(make):
    made = make()
    config = made.build.config
    assert made.argv == ("python3", "train.py", "--epochs", "3")
    assert (config.workdir, config.user, config.labels) == ("/app", "app", {"stage": "final"})
    assert (config.entrypoint, config.command) == (("python3", "train.py"), ("--epochs", "3"))


def test_the_code_is_what_the_image_took_of_its_context(make, project):
    made = make()
    assert [path for path, _, _ in made.code.files] == ["lib/a.c", "train.py"]
    assert made.code.root == str(project / "docker")
    kinds = [type(step) for step in made.build.steps]
    assert kinds == [UnpackDebs, RunCommand, RunCommand, MakeDirectory, CopyFiles, CopyFiles]


def test_code_that_the_experiment_sets_is_copied_on_top(make, project):
    made = make("code.root=src")
    copied = made.build.steps[-1]
    assert isinstance(copied, CopyIn)
    assert (copied.target, [path for path, _, _ in copied.files]) == ("/app", ["own.py"])
    assert made.code.root == str(project / "src")


def test_words_behind_two_dashes_replace_the_image_s_command_and_keep_its_entrypoint(make):
    assert make(command=["--epochs", "9"]).argv == ("python3", "train.py", "--epochs", "9")


def test_a_command_of_the_experiment_is_the_whole_command(make):
    assert make("command=[python3,other.py,'${params.n}']", "+params.n=4").argv == ("python3", "other.py", "4")


def test_a_working_directory_of_the_experiment_wins(make):
    assert make("workdir=/elsewhere").build.config.workdir == "/elsewhere"


def test_packages_commands_and_environment_come_on_top(make):
    made = make("image.apt=[git]", "image.run=[ldconfig]", "image.env={A: b}")
    assert [step.label for step in made.build.steps[-2:]] == ["apt-get install git", "ldconfig"]
    assert made.build.config.env["A"] == "b"
    assert not any(isinstance(step, MakeVenv) for step in made.build.steps)


def test_target_arguments_and_context_are_those_of_the_experiment(make, project):
    (project / "docker" / "Dockerfile").write_text(
        "ARG V\nFROM bootstrap:debian/trixie AS one\nARG V\nRUN $V\nFROM nowhere\nCOPY x /\n"
    )
    made = make("image.target=one", "+image.args.V=given", "command=[x]")
    assert dict(made.build.steps[-1].env)["V"] == "given"
    (project / "docker" / "Dockerfile").write_text("FROM bootstrap:debian/trixie\nCOPY src/own.py /\nCMD x\n")
    made = make("image.context=.")
    assert [path for path, _, _ in made.code.files] == ["src/own.py"]
    assert made.argv == ("/bin/sh", "-c", "x")


def test_the_identity_covers_the_dockerfile_and_the_files_it_copies(make, project):
    before = make().spec_digest
    for name, text in {
        "docker/train.py": "print(3)\n",
        "docker/lib/a.c": "int b;\n",
        "docker/Dockerfile": DOCKERFILE.replace("RUN make", "RUN make -B"),
    }.items():
        was = (project / name).read_text()
        (project / name).write_text(text)
        assert make().spec_digest != before, name
        (project / name).write_text(was)
    assert make("+image.args.MODE=slow").spec_digest != before
    (project / "docker/notes.txt").write_text("changed, and nobody sees it\n")
    (project / "docker/Dockerfile").write_text(DOCKERFILE.replace("LABEL stage=final", "LABEL stage=other"))
    assert make().spec_digest == before


def test_the_plan_comes_back_from_its_document(make):
    made = make("code.root=src")
    assert from_document(json.loads(json.dumps(to_document(made)))) == made


def test_a_trial_of_a_sweep_keeps_the_image_s_command_and_directory(make, tmp_path):
    made = make("+params.n=1")
    trial = with_spec(made, replace(made.spec, params={"n": 2}), overrides=("params.n=2",), state=StateDir(tmp_path / "state"))
    assert (trial.argv, trial.build, trial.params) == (made.argv, made.build, {"n": 2})
    assert trial.spec_digest != made.spec_digest


@pytest.mark.parametrize(
    ("overrides", "message", "origin"),
    [
        pytest.param(["image.dockerfile=docker/Dockerfil"], "there is no Dockerfile", "command line", id="misspelt"),
        pytest.param(["image.target=biuld"], "the Dockerfile has no stage `biuld`", "command line", id="target"),
        pytest.param(["image.context=nowhere"], "the build context", "conf/experiment/x.yaml:2", id="context"),
        pytest.param(["image.base=oci:x"], "`image.base` and `image.dockerfile` are two bases", "command line", id="two bases"),
    ],
)
def test_what_is_wrong_is_said_with_the_place_that_asked_for_it(make, monkeypatch, project, overrides, message, origin):
    monkeypatch.chdir(project)
    with pytest.raises(ConfigError) as refused:
        make(*overrides)
    assert refused.value.message.startswith(message)
    assert str(refused.value.origin).startswith(origin)


def test_an_error_in_the_dockerfile_is_said_with_its_line(make, monkeypatch, project):
    monkeypatch.chdir(project)
    (project / "docker/Dockerfile").write_text("FROM bootstrap:debian/trixie\nCOPY trian.py .\n")
    with pytest.raises(ConfigError, match=r"`trian\.py` is not in the context") as refused:
        make()
    assert (str(refused.value.origin), refused.value.hint) == ("docker/Dockerfile:2", "did you mean `train.py`?")


def test_an_image_without_a_command_is_refused(make, project):
    (project / "docker/Dockerfile").write_text("FROM bootstrap:debian/trixie\nRUN x\n")
    with pytest.raises(ConfigError, match="the image of `x` has no command") as refused:
        make()
    assert refused.value.hint == "add an ENTRYPOINT or a CMD to the Dockerfile, or `command` to the experiment"


def test_an_experiment_without_dockerfile_and_command_is_refused_as_before(project, make):
    (project / "conf/experiment/x.yaml").write_text("# @package _global_\ncpus: 1\n")
    with pytest.raises(ConfigError, match="`x` has no `command`"):
        make()


def test_the_state_of_launch_is_no_part_of_a_context_that_it_lies_in(make, project):
    (project / "docker/Dockerfile").write_text("FROM bootstrap:debian/trixie\nCOPY . /app/\nCMD x\n")
    made = make("image.context=.")
    assert "docker/Dockerfile" in [path for path, _, _ in made.code.files]
    assert not [path for path, _, _ in made.code.files if path.startswith("state")]


def test_an_ignore_file_of_the_dockerfile_s_own_goes_before_the_context_s(make, project):
    (project / "docker/Dockerfile").write_text("FROM bootstrap:debian/trixie\nCOPY . /app/\nCMD x\n")
    (project / "docker/.dockerignore").write_text("lib\n")
    assert "lib/a.c" not in [path for path, _, _ in make().code.files]
    (project / "docker/Dockerfile.dockerignore").write_text("*\n!train.py\n")
    assert [path for path, _, _ in make().code.files] == ["train.py"]


def test_an_image_that_is_built_to_be_asked_for_its_python_has_its_packages_from_the_mirror(make, tmp_path):
    mirror = Image(mirror=f"file:{tmp_path / 'nearer'}")
    archive = _Archive("trixie", mirror, Pinning(StateDir(tmp_path / "state"), ENVIRON))
    archive.record(BASE_PACKAGES, ()).write_text(json.dumps({"debs": DEBS}))
    with pytest.raises(RuntimeFailure, match="nearer"):
        make(f"image.mirror={mirror.mirror}", "image.python='3.13'")

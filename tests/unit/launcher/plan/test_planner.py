"""From a project on disk to a plan, with a recorded base: no network, no GPU, nothing built."""

from __future__ import annotations

import json

import pytest

from launcher.config.compiled import load
from launcher.config.spec import Image
from launcher.errors import ConfigError, LaunchError
from launcher.plan.bases.debian_record import BASE_PACKAGES, _Archive
from launcher.plan.bases.pinning import Pinning
from launcher.plan.explain import explain
from launcher.plan.image_plan import sources
from launcher.plan.plan_json import from_document, to_document
from launcher.plan.planner import plan, with_spec
from launcher.plan.requirements.write_locks import lock_experiment
from launcher.plan.step_changes import subject
from runtime.build.plan import CopyIn, InstallTree, MakeVenv, RunCommand, UnpackDebs
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir
from runtime.store.store import Store

ENVIRON = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LAUNCH_DEBIAN_MIRROR": "file:/nonexistent none"}
EXPERIMENT = """\
# @package _global_
code: {root: src}
command: python3 train.py --lr=${params.lr} ${params.layers}
params: {lr: 0.1, layers: [64, 32]}
cpus: 1
image:
  run: ["echo a"]
  groups: {extra: {run: ["echo b"]}}
"""
DEBS = [
    ["libc6", "2.41-12", "amd64", "main", "pool/l.deb", 5, "a" * 64],
    ["python3.13-minimal", "3.13.5-2", "amd64", "main", "pool/p.deb", 5, "b" * 64],
]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "x.yaml").write_text(EXPERIMENT)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("print(1)\n")
    return tmp_path


@pytest.fixture
def state(state):
    archive = _Archive("trixie", Image(), Pinning(state, ENVIRON))
    record = archive.record(BASE_PACKAGES, ())
    record.parent.mkdir()
    record.write_text(json.dumps({"debs": DEBS}))
    return state


@pytest.fixture
def compose(project, state):
    def compose(*overrides):
        return load(["experiment=x", *overrides], config_dir=None, cwd=project, state=state, environ=ENVIRON)

    return compose


@pytest.fixture
def make(project, state, compose, tmp_path):
    environ = {**ENVIRON, "UV_CACHE_DIR": str(tmp_path / "uv-cache")}  # nobody but root could make one in that home

    def make(*overrides):
        return plan(compose(*overrides), state=state, environ=environ)

    return make


def test_steps_go_from_what_changes_seldom_to_what_changes_often(make):
    steps = make().build.steps
    assert [type(step) for step in steps] == [UnpackDebs, RunCommand, MakeVenv, RunCommand, RunCommand, CopyIn]
    assert [step.argv[-1] for step in steps if isinstance(step, RunCommand)][1:] == ["echo a", "echo b"]


def test_commands_of_the_code_run_in_it_and_after_it(make):
    *_, code, setup = make("code.setup=[make]", "workdir=/work").build.steps
    assert (CopyIn, "/work", "/work", "make") == (type(code), code.target, setup.cwd, setup.argv[-1])
    assert "code.setup" == subject(setup)


def test_the_package_of_the_code_is_pinned_by_what_its_build_reads(make, project):
    (project / "src/pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\n')
    first = tree_step(make("image.requirements=[-e .]"))
    assert (str(project / "src"), ".", "/workspace", ("pyproject.toml",)) == (
        first.source,
        first.directory,
        first.target,
        first.contents,
    )
    (project / "src/train.py").write_text("print(2)\n")
    second = tree_step(make("image.requirements=[-e .]"))
    assert first.sha256 == second.sha256 == second.content_digest.hex
    assert tree_step(make("image.requirements=[.]")).sha256 != tree_step(make("image.requirements=[-e .]")).sha256
    (project / "src/pyproject.toml").write_text('[project]\nname = "mine"\nversion = "2"\n')
    assert first.sha256 != tree_step(make("image.requirements=[-e .]")).sha256


def test_a_package_that_is_not_part_of_the_code_is_refused(make, project):
    (project / "src/pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\n')
    with pytest.raises(ConfigError, match=r"no pyproject\.toml or setup\.py of `\.` is part of the code"):
        make("image.requirements=[-e .]", "code.exclude=[pyproject.toml]")


def tree_step(made):
    (step,) = (step for step in made.build.steps if isinstance(step, InstallTree))
    return step


def test_the_command_is_filled_in(make):
    assert make("params.lr=0.5").argv == ("python3", "train.py", "--lr=0.5", "64", "32")


def test_a_parameter_changes_the_identity_but_not_the_image(make):
    first, second = make(), make("params.lr=0.5")
    assert first.spec_digest != second.spec_digest
    assert first.build == second.build


def test_an_edit_changes_code_and_identity_and_the_top_layer_only(make, project):
    first = make()
    (project / "src" / "train.py").write_text("print(2)\n")
    second = make()
    assert first.code.digest != second.code.digest
    assert first.spec_digest != second.spec_digest
    assert first.build.steps[:-1] == second.build.steps[:-1]
    assert first.build.steps[-1] != second.build.steps[-1]


def test_planning_twice_gives_the_same_plan(make):
    assert make() == make()


def test_more_than_there_is_is_refused_before_the_archive_is_asked(compose, tmp_path, project):
    fresh = StateDir(tmp_path / "fresh").ensure()
    with pytest.raises(ConfigError, match=r"not enough GPUs: 999 requested, \d+ present") as caught:
        plan(compose("gpus=999"), state=fresh, environ=ENVIRON)
    assert caught.value.exit_code == 2
    assert str(caught.value.origin) == "command line: gpus=999"


def test_a_plan_that_is_only_looked_at_warns_of_what_this_machine_lacks(compose, state, project):
    made = plan(compose("gpus=999"), state=state, environ=ENVIRON, runs_here=False)
    assert 999 == made.gpus
    assert made.warnings[0].startswith("this machine can't run it: not enough GPUs: 999 requested, ")


def test_a_trial_is_the_plan_with_another_spec(make, compose, state):
    made = make()
    trial = with_spec(made, compose("params.lr=0.5").spec, overrides=("params.lr=0.5",), state=state)
    assert trial == replace(make("params.lr=0.5"), overrides=("params.lr=0.5",), origins=made.origins)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_parameter_may_be_endless_or_no_number(make, value):
    made = make(f"params.lr={value}")
    assert f"--lr={value}" == made.argv[2]
    assert made.spec_digest == make(f"params.lr={value}").spec_digest
    assert made.spec_digest != make("params.lr='" + value + "'").spec_digest
    assert value == str(from_document(json.loads(json.dumps(to_document(made)))).spec.params["lr"])


def test_a_trial_cannot_change_the_image(make, compose, state):
    with pytest.raises(ConfigError, match="cannot differ"):
        with_spec(make(), compose("image.env.A=b").spec, overrides=(), state=state)


def test_a_trial_has_the_base_that_was_found_for_its_python(make, compose, state):
    made = make("image=bookworm", "image.python=3.13")
    assert "bootstrap:debian/trixie" == made.spec.image.base
    trial = compose("image=bookworm", "image.python=3.13", "params.lr=0.5").spec
    assert made.build == with_spec(made, trial, overrides=(), state=state).build


def test_a_debian_base_that_has_another_python_would_get_one_of_uvs(project, state, compose, tmp_path):
    environ = {**ENVIRON, "UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_PYTHON_INSTALL_MIRROR": f"file://{tmp_path}/nothing"}
    wanted = compose("image.python=3.11", "image.base=bootstrap:debian/trixie")
    with pytest.raises(LaunchError, match=r"^uv's Python 3\.11\.\d+ cannot be had") as caught:
        plan(wanted, state=state, environ=environ)
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.hint


def test_a_registry_that_cannot_be_asked_is_told_with_the_line_that_names_it(make):
    with pytest.raises(LaunchError, match=r"registry `127\.0\.0\.1:1` refuses connections") as caught:
        make("image.base=127.0.0.1:1/lab/image:v1")
    assert "command line: image.base=127.0.0.1:1/lab/image:v1" == str(caught.value.origin)


def test_explain_says_what_would_be_built_and_touches_nothing(make, state):
    made = make()
    before = sorted(state.root.rglob("*"))
    explained = explain(made, Store(state.store))
    assert (explained.image, explained.hits) == (None, 0)
    assert "6 of 6 layers to build" in explained.text()
    assert "python3 train.py --lr=0.1 64 32" in explained.text()
    document = json.loads(json.dumps(explained.to_json()))
    assert [layer["hit"] for layer in document["layers"]] == [False] * 6
    assert before == sorted(state.root.rglob("*"))


def test_sources_name_the_archives_of_a_base_and_no_index_for_a_plan_without_wheels(make, state):
    found = sources(make(), state=state, environ=ENVIRON)
    assert found.debian() is not None
    assert found.wheels() is None


def test_lock_writes_the_base_beside_the_experiment_and_a_launch_uses_it(make, compose, state, project, tmp_path):
    made = make()
    written = lock_experiment(compose(), state=state, environ=ENVIRON)
    assert written.base_path == project / "conf" / "experiment" / "x.base.lock"
    elsewhere = StateDir(tmp_path / "fresh").ensure()
    again = plan(compose(), state=elsewhere, environ=ENVIRON)
    assert made.base_digest == again.base_digest
    assert made.spec_digest == again.spec_digest


def test_data_is_pinned_by_content(make, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.bin").write_bytes(b"1")
    first = make(f"data.d={data}")
    assert (first.data["d"].kind, first.data["d"].files, first.data["d"].size_bytes) == ("content", 1, 1)
    (data / "a.bin").write_bytes(b"2")
    assert first.spec_digest != make(f"data.d={data}").spec_digest


def test_torchrun_with_a_long_grace_is_warned_about(make):
    assert any("torchrun kills its workers 30 s" in text for text in make("command=torchrun x.py", "grace=60s").warnings)


def test_ranks_that_each_start_torchrun_are_warned_about(make):
    warnings = make("command=python3 -m torch.distributed.run x.py", "processes=2").warnings
    assert any("each would start torchrun" in text for text in warnings)


def test_when_an_idle_run_is_stopped_makes_no_other_experiment(make):
    assert make().spec_digest == make("gpu.stop_when_idle=30m").spec_digest

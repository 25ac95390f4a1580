"""Every trap of Hydra that we know of, as a user types it, and the error that helps. The whole text is compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from launcher.config.project import shipped_conf
from launcher.config.traps import unparsable_override
from launcher.errors import ConfigError
from tests.unit.launcher.config.conftest import Project, shown

CONF = shipped_conf()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param(
            ["+image.requirements=[humanize]"],
            f"error: `+` would replace the whole list `image.requirements` from {CONF}/experiment/digits.yaml:4, not add to it\n"
            "  --> command line: +image.requirements=[humanize]\n\n"
            "hint: `--with humanize` adds to it; `image.requirements=[humanize]` replaces it",
            id="plus on a list",
        ),
        pytest.param(
            ["++image.requirements=[humanize]"],
            f"error: `+` would replace the whole list `image.requirements` from {CONF}/experiment/digits.yaml:4, not add to it\n"
            "  --> command line: ++image.requirements=[humanize]\n\n"
            "hint: `--with humanize` adds to it; `image.requirements=[humanize]` replaces it",
            id="two plus on a list",
        ),
        pytest.param(
            ["image.requirements=[a>=1]"],
            "error: `[a>=1]` needs quotes in Hydra's grammar\n"
            "  --> command line: image.requirements=[a>=1]\n\n"
            "hint: `--with 'a>=1'` adds to the experiment's requirements; to replace them: 'image.requirements=[\"a>=1\"]'",
            id="requirement with a bound",
        ),
        pytest.param(
            ["image.requirements=extend_list(humanize)"],
            "error: `extend_list(…)` is not supported\n"
            "  --> command line: image.requirements=extend_list(humanize)\n\n"
            "hint: `--with PACKAGE` adds a requirement to those of the experiment",
            id="extend_list",
        ),
        pytest.param(
            ["gpu=2"],
            "error: `gpu` is a mapping\n  --> command line: gpu=2\n\nhint: did you mean `gpus=2`?",
            id="gpu for gpus",
        ),
        pytest.param(
            ["gpus.count=3"],
            "error: unknown key `gpus.count`\n  --> command line: gpus.count=3\n\n"
            "hint: `gpus` is a number; requirements for each GPU go to `gpu.model`, `gpu.memory`",
            id="a key below a number",
        ),
        pytest.param(
            ["gpsu=2"],
            "error: unknown key `gpsu`\n  --> command line: gpsu=2\n\nhint: did you mean `gpus=2`?",
            id="letters swapped",
        ),
        pytest.param(
            ["params.lrr=1"],
            "error: unknown key `params.lrr`\n  --> command line: params.lrr=1\n\nhint: did you mean `params.lr=1`?",
            id="near miss of a parameter",
        ),
        pytest.param(
            ["params.momentum=0.9"],
            "error: unknown key `params.momentum`\n  --> command line: params.momentum=0.9\n\n"
            "hint: `+params.momentum=0.9` adds a new parameter",
            id="new parameter without plus",
        ),
        pytest.param(
            ["params.a=1"],
            "error: unknown key `params.a`\n  --> command line: params.a=1\n\nhint: `+params.a=1` adds a new parameter",
            id="new parameter with a short name",
        ),
        pytest.param(
            ["lr=1"],
            "error: unknown key `lr`\n  --> command line: lr=1\n\nhint: did you mean `params.lr=1`?",
            id="parameter without params",
        ),
        pytest.param(
            ["+gpsu=2"],
            "error: unknown key `gpsu`\n  --> command line: +gpsu=2\n\nhint: did you mean `gpus=2`?",
            id="plus does not force an unknown key",
        ),
        pytest.param(
            ["+gpus=2"],
            "error: `gpus` exists already\n  --> command line: +gpus=2\n\nhint: without `+`: `gpus=2`",
            id="plus on a key that exists",
        ),
        pytest.param(
            ["hydra.run.dir=/tmp"],
            "error: launch does not run through Hydra's own runner: `hydra.*` settings have no effect\n"
            "  --> command line: hydra.run.dir=/tmp\n\n"
            "hint: output goes to `$LAUNCH_OUTPUTS`; a sweep is configured by `sweep.*`",
            id="hydra's own settings",
        ),
        pytest.param(
            ["command=python t.py --lr=1"],
            "error: a command cannot be given as an override\n  --> command line: command=python t.py --lr=1\n\n"
            "hint: `launch experiment=NAME -- python t.py --lr=1` replaces the command",
            id="command with an equals sign",
        ),
        pytest.param(
            ["params.lr=0.1,0.01"],
            "error: `params.lr=0.1,0.01` lists several values\n  --> command line: params.lr=0.1,0.01\n\n"
            "hint: `launch -m` makes a run for each; a list is written `params.lr=[0.1,0.01]`, text `'params.lr=\"0.1,0.01\"'`",
            id="sweep without -m",
        ),
        pytest.param(
            ["image=cuda13"],
            "error: no preset `cuda13` of `image`\n  --> command line: image=cuda13\n\nhint: did you mean `image=cuda12`?",
            id="preset that does not exist",
        ),
        pytest.param(
            ["tracking=null"],
            "error: `tracking` is chosen among `local`, `none`, `remote`\n  --> command line: tracking=null\n\n"
            "hint: `tracking=none` records the journal only",
            id="null for a preset",
        ),
        pytest.param(
            ["digits"],
            "error: `digits` is not an override: write `KEY=VALUE`\n  --> command line: digits\n\n"
            "hint: an experiment is chosen with `experiment=digits`",
            id="a bare word",
        ),
        pytest.param(
            ["~image"],
            "error: `image` cannot be deleted\n  --> command line: ~image\n\nhint: choose another preset, as in `image=debian`",
            id="deleting a preset",
        ),
    ],
)
def test_what_is_typed_on_the_command_line(project: Project, typed: list[str], expected: str) -> None:
    assert expected == shown(project.error("experiment=digits", *typed))


def test_no_experiment_names_those_there_are(project: Project) -> None:
    project.experiment("command: [true]")
    assert (
        "error: no experiment was chosen\n\n"
        "hint: write `experiment=NAME`; there are `digits`, `mine`, `resnet`; `launch list` describes them"
    ) == shown(project.error())


def test_outside_a_project_it_is_said_where_its_configuration_was_looked_for(project: Project) -> None:
    shutil.rmtree(project.root / "conf", ignore_errors=True)
    assert (
        "error: no experiment `train`\n  --> command line: experiment=train\n\n"
        "hint: there are `digits`, `resnet`; neither here nor above is a project's `conf/`, which `launch init` writes"
    ) == shown(project.error("experiment=train"))


def test_misspelt_experiment_is_guessed(project: Project) -> None:
    assert "did you mean `experiment=digits`?" == project.error("experiment=digts").hint


def test_list_in_one_file_and_mapping_in_another_names_both(project: Project) -> None:
    project.write("conf/project.yaml", "# @package _global_\nparams:\n  layers: [1, 2]\n")
    project.experiment("command: [run]\nparams:\n  layers: {first: 1}\n")
    assert (
        "error: `params.layers` is a mapping here and a list in conf/project.yaml:3\n"
        "  --> conf/experiment/mine.yaml:4\n\nhint: a key holds one kind of value in every file"
    ) == shown(project.error("experiment=mine"))


def test_a_list_where_the_schema_has_a_mapping_is_named(project: Project) -> None:
    project.experiment("command: [run]\nparams: [1, 2]\n")
    assert (
        "error: `params` is a list here, and means a mapping\n  --> conf/experiment/mine.yaml:3\n\n"
        "hint: name what it holds: `params: {NAME: VALUE}`"
    ) == shown(project.error("experiment=mine"))


@pytest.mark.parametrize("text", ["command: [run]\nimage:\n\tapt: [git]\n", "a: 1\n\tb: 2\n", "\tcommand: [run]\n"])
def test_a_tab_is_called_a_tab(project: Project, text: str) -> None:
    (project.experiment("")).write_text(text)
    error = project.error("experiment=mine")
    assert ("not YAML: a tab", "YAML is indented with blanks") == (error.message, error.hint)


def test_gpus_as_a_mapping_is_refused_with_its_line(project: Project) -> None:
    project.experiment("command: [run]\ngpus: {count: 2, model: H100}\n")
    error = project.error("experiment=mine")
    assert "conf/experiment/mine.yaml:3" == str(error.origin)
    assert "requirements for each GPU go to `gpu.model`" in error.message


def test_gpu_as_a_number_in_a_file(project: Project) -> None:
    project.experiment("command: [run]\ngpu: 2\n")
    assert "error: `gpu` is a mapping\n  --> conf/experiment/mine.yaml:3\n\nhint: did you mean `gpus: 2`?" == shown(
        project.error("experiment=mine")
    )


def test_preset_named_in_the_body_of_an_experiment(project: Project) -> None:
    project.experiment("command: [run]\nimage: bookworm\n")
    assert "a preset is chosen in `defaults:`, as `- override /image: bookworm`" == project.error("experiment=mine").hint


def test_unknown_key_in_a_file_has_its_line_and_a_guess(project: Project) -> None:
    project.experiment("command: [run]\nimage:\n  requirments: [numpy]\n")
    assert (
        "error: unknown key `image.requirments`\n  --> conf/experiment/mine.yaml:4\n\nhint: did you mean `image.requirements`?"
    ) == shown(project.error("experiment=mine"))


def test_several_mistakes_are_told_at_once(project: Project) -> None:
    project.experiment("command: [run]\ntimeout: 12x\nnetwork: brige\n")
    error = project.error("experiment=mine")
    assert "`network` is `brige`: too near to a word that means something" == error.message
    assert error.hint is not None
    assert "did you mean `bridge`?\nalso: `timeout` is `12x`: not a duration (conf/experiment/mine.yaml:3)" == error.hint


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        pytest.param("image: {python: 3.10}", "image.python", "3.10", id="version that looks like a number"),
        pytest.param("env: {B: 1.50}", "env.B", "1.50", id="trailing zero"),
        pytest.param("env: {B: 012}", "env.B", "012", id="leading zero"),
        pytest.param("env: {B: on}", "env.B", "on", id="word that YAML calls true"),
        pytest.param("env: {B: 1:30:00}", "env.B", "1:30:00", id="base sixty"),
        pytest.param("env: {B: 0x1F}", "env.B", "0x1F", id="hexadecimal"),
        pytest.param("tags: {when: 2026-01-02}", "tags.when", "2026-01-02", id="date"),
        pytest.param("command: [run, 1.50, on]", "command", ("run", "1.50", "on"), id="words of a command"),
        pytest.param("image: {apt: [3.10]}", "image.apt", ("3.10",), id="item of a list"),
    ],
)
def test_text_stays_text_in_a_file(project: Project, line: str, key: str, expected: object) -> None:
    project.experiment(line if line.startswith("command") else f"command: [run]\n{line}\n")
    assert expected == value_of(project.load("experiment=mine").spec, key)


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        pytest.param("image.python=3.10", "image.python", "3.10", id="version"),
        pytest.param("env.B=1.50", "env.B", "1.50", id="trailing zero"),
        pytest.param("env.B=on", "env.B", "on", id="on"),
        pytest.param("env={B: 1.50, C: '2.0'}", "env.B", "1.50", id="inside a mapping"),
        pytest.param("image.apt=[3.10,git]", "image.apt", ("3.10", "git"), id="inside a list"),
    ],
)
def test_text_stays_text_on_the_command_line(project: Project, override: str, key: str, expected: object) -> None:
    project.experiment("command: [run]\n")
    assert expected == value_of(project.load("experiment=mine", override).spec, key)


def value_of(spec: object, key: str) -> object:
    for part in key.split("."):
        spec = spec[part] if isinstance(spec, dict) else getattr(spec, part)
    return spec


def test_preset_chosen_on_the_command_line_and_overruled_by_the_experiment(project: Project) -> None:
    project.experiment("command: [run]\nimage: {base: oci:mine}\n")
    assert (
        "error: `image=cuda12` does not reach `image.base`: conf/experiment/mine.yaml:3 sets it again, "
        f"over {CONF}/image/cuda12.yaml:2\n"
        "  --> command line: image=cuda12\n\n"
        "hint: in conf/experiment/mine.yaml:3 choose a preset with `defaults: [override /image: NAME]` instead, "
        "or give `image.base=…` on the command line"
    ) == shown(project.error("experiment=mine", "image=cuda12"))


def test_overruled_preset_is_fine_when_the_key_is_given_too(project: Project) -> None:
    project.experiment("command: [run]\nimage: {base: oci:mine, apt: [a], cuda: null}\n")
    loaded = project.load("experiment=mine", "image=cuda12", "image.base=oci:/x", "image.apt=[b]", "image.cuda=cpu")
    assert ("oci:/x", ("b",), "cpu") == (loaded.spec.image.base, loaded.spec.image.apt, loaded.spec.image.cuda)


def test_preset_chosen_by_the_experiment_gives_way_to_the_command_line(project: Project) -> None:
    assert "bootstrap:debian/trixie" == project.load("experiment=resnet", "image=debian").spec.image.base


def test_override_of_a_group_that_does_not_exist(project: Project) -> None:
    project.experiment("defaults:\n  - override /imag: debian\ncommand: [run]\n")
    assert (
        "error: nothing to override: `imag` is not chosen before\n  --> conf/experiment/mine.yaml:3\n\n"
        "hint: did you mean `image`?"
    ) == shown(project.error("experiment=mine"))


def test_preset_that_does_not_exist_in_a_defaults_list(project: Project) -> None:
    project.experiment("defaults:\n  - override /image: bookwrm\ncommand: [run]\n")
    assert (
        "error: no preset `bookwrm` of `image`\n  --> conf/experiment/mine.yaml:3\n\nhint: did you mean `image=bookworm`?"
    ) == shown(project.error("experiment=mine"))


def test_own_config_yaml_that_would_shadow_ours(project: Project) -> None:
    project.write("conf/config.yaml", "defaults:\n  - _self_\nseed: 1\n")
    error = project.error("experiment=digits")
    assert "conf/config.yaml:1" == str(error.origin)
    assert "has no `schema` in its `defaults`" in error.message
    assert error.hint is not None
    assert "project.yaml" in error.hint


def test_experiment_without_its_package_line(project: Project) -> None:
    project.write("conf/experiment/mine.yaml", "command: [run]\n")
    assert (
        "error: `mine.yaml` lacks `# @package _global_`\n  --> conf/experiment/mine.yaml:1\n\n"
        "hint: make it the first line: without it every key of the file lands below `experiment`"
    ) == shown(project.error("experiment=mine"))


def test_hydra_interpolation_in_a_file(project: Project) -> None:
    project.experiment("command: [run]\ndescription: ${hydra:runtime.choices.experiment}\n")
    error = project.error("experiment=mine")
    assert "conf/experiment/mine.yaml:3" == str(error.origin)
    assert "the experiment's name is `${name}`" == error.hint


def test_name_is_the_experiments_choice(project: Project) -> None:
    project.experiment("command: [run]\ndescription: about ${name}\n")
    assert "about mine" == project.load("experiment=mine").spec.description


def test_unset_variable_is_named_with_its_line(project: Project) -> None:
    project.experiment("command: [run]\ndata:\n  cifar10: ${oc.env:CIFAR10}\n")
    assert (
        "error: the environment variable `CIFAR10` is not set\n  --> conf/experiment/mine.yaml:4\n\n"
        "hint: set it, or allow its absence with `${oc.env:CIFAR10,null}`"
    ) == shown(project.error("experiment=mine"))


def test_unset_variable_in_a_preset_of_ours(project: Project) -> None:
    error = project.error("experiment=digits", "tracking=remote")
    assert f"{CONF}/tracking/remote.yaml:1" == str(error.origin)


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET", "db_password", "API_KEY"])
def test_variable_that_looks_like_a_secret_is_refused(project: Project, name: str) -> None:
    project.experiment(f"command: [run]\nenv:\n  X: ${{oc.env:{name}}}\n")
    error = project.error("experiment=mine", environ={name: "hunter2"})
    assert "conf/experiment/mine.yaml:4" == str(error.origin)
    assert error.hint is not None
    assert f"`secrets: [{name}]`" in error.hint
    assert "hunter2" not in shown(error)


def test_null_data_is_not_mounted(project: Project) -> None:
    project.experiment("command: [run]\ndata: {a: '${oc.env:A,null}', b: /b}\n")
    assert ["b"] == list(project.load("experiment=mine").spec.data)
    assert ["a", "b"] == list(project.load("experiment=mine", environ={"A": "/a"}).spec.data)


def test_reference_to_a_key_that_does_not_exist(project: Project) -> None:
    project.experiment("command: [run]\nparams: {lr: 1, twice: '${params.lrr}'}\n")
    error = project.error("experiment=mine")
    assert "conf/experiment/mine.yaml:3" == str(error.origin)
    assert "did you mean `params.lr`?" == error.hint


def test_shell_syntax_in_a_command_is_refused(project: Project) -> None:
    project.experiment("command: python a.py && python b.py\n")
    assert (
        "error: `&&` in the command would be a plain word: no shell runs\n  --> conf/experiment/mine.yaml:2\n\n"
        "hint: ask for one: `command: [sh, -c, 'python a.py && python b.py']`"
    ) == shown(project.error("experiment=mine"))


def test_missing_value_that_must_be_given(project: Project) -> None:
    project.experiment("command: [run]\nparams:\n  lr: ???\n")
    assert "error: `params.lr` must be given\n  --> conf/experiment/mine.yaml:4\n\nhint: as in `params.lr=VALUE`" == shown(
        project.error("experiment=mine")
    )
    assert {"lr": 1} == project.load("experiment=mine", "params.lr=1").spec.params


def test_broken_yaml_has_its_line(project: Project) -> None:
    project.experiment("command: [run\nparams: {}\n")
    error = project.error("experiment=mine")
    assert str(error.origin).startswith("conf/experiment/mine.yaml:")
    assert error.message.startswith("not YAML: ")


def test_key_that_stands_twice(project: Project) -> None:
    project.experiment("command: [run]\nseed: 1\nseed: 2\n")
    assert "error: the key `seed` stands twice, first in line 3\n  --> conf/experiment/mine.yaml:4" == shown(
        project.error("experiment=mine")
    )


def test_requirement_that_cannot_be_read(project: Project) -> None:
    project.experiment("command: [run]\nimage:\n  requirements:\n    - numpy\n    - scikit learn\n")
    error = project.error("experiment=mine")
    assert "conf/experiment/mine.yaml:6" == str(error.origin)
    assert "`scikit learn` is not a requirement" in error.message


@pytest.mark.filterwarnings("error")
def test_composing_warns_of_nothing(project: Project) -> None:
    project.load("experiment=digits")


@pytest.mark.parametrize(
    "override",
    [
        "env.X=1",
        "data.d=/x",
        "tags.a=b",
        "caches.hf=/cache",
        "image.env.X=1",
        "image.groups.more.apt=[git]",
        "sweep.pruner.kind=median",
    ],
)
def test_keys_that_a_person_chooses_need_no_plus(project: Project, override: str) -> None:
    key = override.partition("=")[0]
    assert f"command line: {override}" == project.load("experiment=digits", override).origins[key]


def test_groups_of_additions_join_over_files(project: Project) -> None:
    project.write("conf/project.yaml", "# @package _global_\nimage: {groups: {team: {requirements: [a]}}}\n")
    project.experiment("command: [run]\nimage: {groups: {mine: {requirements: [b]}}}\n")
    groups = project.load("experiment=mine", with_requirements=["c"]).spec.image.groups
    assert {"team": ("a",), "mine": ("b",), "with": ("c",)} == {name: group.requirements for name, group in groups.items()}


@pytest.mark.parametrize("preset", sorted((CONF / "image").glob("*.yaml")), ids=lambda file: file.stem)
def test_image_presets_hold_no_requirements(preset: Path) -> None:
    """A list in a preset would be replaced by the experiment's, not joined."""
    assert "requirements" not in yaml.safe_load(preset.read_text())


def test_experiment_that_builds_on_another(project: Project) -> None:
    project.experiment("command: [run]\nparams: {lr: 1, layers: [64]}\n", name="small")
    project.experiment("defaults: [small, _self_]\nparams: {layers: [512, 512]}\n", name="big")
    spec = project.load("experiment=big").spec
    assert ("big", ("run",), {"lr": 1, "layers": [512, 512]}) == (spec.name, spec.command, spec.params)


def test_projects_choice_of_a_preset_gives_way_to_the_command_line(project: Project) -> None:
    project.write("conf/project.yaml", "# @package _global_\ndefaults:\n  - override /tracking: lab\n")
    project.write("conf/tracking/lab.yaml", "uri: http://mlflow.lab:5000\n")
    tracking = project.load("experiment=digits").spec.tracking
    assert tracking is not None
    assert "http://mlflow.lab:5000" == tracking.uri
    assert project.load("experiment=digits", "tracking=none").spec.tracking is None


def test_a_list_that_cannot_be_read_is_shown_with_its_items_quoted(project: Project) -> None:
    with pytest.raises(ConfigError) as caught:
        project.load("experiment=mine", "devices=[v.com/c=x, /dev/kvm]")
    assert """`devices=["v.com/c=x","/dev/kvm"]`""".strip("`") in (caught.value.hint or "")


def test_a_comma_with_nothing_behind_it_is_named() -> None:
    refused = unparsable_override("params.lr=0.1,", ValueError("mismatched input '<EOF>'"))
    assert ("`params.lr=0.1,` lacks a value behind its last comma", "`params.lr=0.1`") == (str(refused), refused.hint)

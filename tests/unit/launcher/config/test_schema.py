"""The schema itself: documented, one with the dataclasses, strict about values."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from launcher.config import quantities, reference, schema, spec
from launcher.config.assembly import split_command
from launcher.errors import ConfigError
from runtime import light_dataclasses
from tests.unit.launcher.config.conftest import Project

MODELS = [
    value
    for value in vars(schema).values()
    if isinstance(value, type) and issubclass(value, schema.Section) and value is not schema.Section
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_a_description_and_an_example_that_fits(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        (example,) = field.examples or []
        required = {other: f.examples[0] for other, f in model.model_fields.items() if f.is_required() and f.examples}
        model.model_validate({**required, name: example})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_schema_and_dataclasses_have_the_same_keys_and_defaults(model: type[BaseModel]) -> None:
    cls = getattr(spec, model.__name__)
    fields = {field.name: field for field in light_dataclasses.fields(cls)}
    assert set(model.model_fields) == set(fields)
    for name, field in model.model_fields.items():
        if not field.is_required():
            default = field.default.model_dump() if isinstance(field.default, BaseModel) else field.default
            assert {"value": default} == spec.to_json(_Holder(_default(fields[name]))), name


@light_dataclasses.dataclass
class _Holder:
    value: typing.Any


def _default(field: light_dataclasses.Field[typing.Any]) -> object:
    return field.default if field.default_factory is light_dataclasses.MISSING else field.default_factory()


def test_reference_page_is_current() -> None:
    page = Path(__file__).resolve().parents[4] / "docs/reference/configuration.md"
    assert reference.page() == page.read_text(), "python -m launcher.config.reference > docs/reference/configuration.md"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43200), ("2d", 172800), ("500ms", 0.5), ("1.5h", 5400), (45, 45), (None, None)],
)
def test_durations(text: object, seconds: object) -> None:
    assert seconds == quantities.seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("1K", 1024), ("1KiB", 1024), ("1KB", 1000), ("1.5GiB", 1610612736), ("16GB", 16_000_000_000), ("2T", 2 * 1024**4)),
        *(("16g", 16 << 30), ("16Gi", 16 << 30), ("512m", 512 << 20), ("16gb", 16_000_000_000), (1 << 16, 1 << 16), (0, 0)),
    ],
)
def test_sizes(text: object, size: object) -> None:
    assert size == quantities.size_bytes(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("timeout=12x", "`timeout` is `12x`: not a duration", id="duration"),
        pytest.param("notify=mail", "`notify` is `mail`: not an http(s) address; a command is a list of words", id="notify"),
        pytest.param("notify=['']", "`notify` is `['']`: a command without a word", id="no command"),
        pytest.param("timeout=-5", "`timeout` is `-5`: a duration cannot be negative", id="negative duration"),
        pytest.param("memory=lots", "`memory` is `lots`: not a size", id="size"),
        pytest.param("memory=8", "`memory` is `8`: that many bytes, without a unit", id="bytes by mistake"),
        pytest.param("memory=1.5", "`memory` is `1.5`: not a size", id="part of a byte"),
        pytest.param("seed=1.5", "`seed` must be a whole number, not `1.5`", id="whole number"),
        pytest.param("seed=true", "`seed` must be a whole number, not `true`", id="true is not 1"),
        pytest.param("deterministic=1", "`deterministic` must be true or false, not `1`", id="1 is not true"),
        pytest.param("gpus=two", "`gpus` must be a whole number, a number or `all`, not `two`", id="word for a number"),
        pytest.param("gpus=inf", "`gpus` is `inf`: not a number of GPUs", id="endless GPUs"),
        pytest.param("gpus=nan", "`gpus` is `nan`: not a number of GPUs", id="no number"),
        pytest.param("gpus=-1", "`gpus` is `-1`: a number of GPUs cannot be negative", id="negative GPUs"),
        pytest.param(
            "gpus=1.5",
            "`gpus` is `1.5`: a part of a GPU is less than 1 (`0.25`); more than one are whole (`2`)",
            id="one and a half",
        ),
        pytest.param("cpus=0", "`cpus` must be more than 0, not `0`", id="no cpus"),
        pytest.param("processes=0", "`processes` must be at least 1 or `per-gpu`, not `0`", id="no processes"),
        pytest.param("retries=-1", "`retries` must be at least 0, not `-1`", id="negative retries"),
        pytest.param("grace=null", "`grace` must be a number, not null", id="null where there is no null"),
        pytest.param("workdir=here", "`workdir` is `here`: not a path in the container", id="relative path in the container"),
        pytest.param("image.python=three", "`image.python` is `three`: not a Python version", id="python"),
        pytest.param(
            "tracking.uri=mlflow.lab", "`tracking.uri` is `mlflow.lab`: not the address of an MLflow server", id="address"
        ),
        pytest.param("env.a-b=x", "`env.a-b` is not a variable's name", id="name of a variable"),
        pytest.param("image.apt=git", "`image.apt` must be a list, not `git`", id="word for a list"),
        pytest.param("data.x={sourc: /x}", "unknown key `data.x.sourc`", id="key inside an alternative"),
    ],
)
def test_impossible_values(project: Project, override: str, message: str) -> None:
    project.experiment("command: [run]\n")
    error = project.error("experiment=mine", override)
    assert (message, f"command line: {override}") == (error.message, str(error.origin))


def test_experiment_without_a_command(project: Project) -> None:
    project.experiment("seed: 1\n")
    error = project.error("experiment=mine")
    assert ("`mine` has no `command`", "conf/experiment/mine.yaml:1") == (error.message, str(error.origin))


def test_a_misspelled_key_is_named_before_the_command_that_it_would_have_brought(project: Project) -> None:
    project.experiment("image: {dockerfle: Dockerfile}\n")
    error = project.error("experiment=mine")
    assert ("unknown key `image.dockerfle`", "did you mean `image.dockerfile`?") == (error.message, error.hint)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param("python3 train.py --lr=${params.lr}", ("python3", "train.py", "--lr=${params.lr}"), id="plain"),
        pytest.param("run 'a b' \"c d\" e\\ f", ("run", "a b", "c d", "e f"), id="quotes"),
        pytest.param("run ${oc.env:X,'a b'} z", ("run", "${oc.env:X,'a b'}", "z"), id="a reference with spaces is one word"),
        pytest.param("run a${x.${y}}b", ("run", "a${x.${y}}b"), id="nested references"),
        pytest.param("run '${params.note}'", ("run", "${params.note}"), id="quoted reference"),
    ],
)
def test_splitting_a_command(command: str, words: tuple[str, ...]) -> None:
    assert words == split_command(command, origin=None)


def test_command_with_an_open_quote() -> None:
    with pytest.raises(ConfigError, match="no closing quotation"):
        split_command("run 'a", origin=None)


def test_variable_in_a_command_is_filled_in_here_and_parameters_later(project: Project) -> None:
    project.experiment("command: run --at=${oc.env:WHERE} --lr=${params.lr}\nparams: {lr: 1}\n")
    loaded = project.load("experiment=mine", environ={"WHERE": "a b"})
    assert ("run", "--at=a b", "--lr=${params.lr}") == loaded.spec.command

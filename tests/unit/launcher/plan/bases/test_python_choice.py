"""Which base a Python that is asked for gets, and what is said where it can't be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import LaunchError, Origin
from launcher.plan.bases.python_choice import unreachable_base, with_fitting_base
from launcher.plan.origins import where_in

PRESET = {"image.base": "/somewhere/conf/image/debian.yaml:1"}


def base_of(image: Image, origins: dict[str, str] = PRESET) -> str:
    return with_fitting_base(ExperimentSpec("x", image=image), where_in(origins)).image.base


@pytest.mark.parametrize(
    ("python", "base"),
    [
        ("3.13", "bootstrap:debian/trixie"),
        ("3.11", "bootstrap:debian/bookworm"),
        ("3.11.2", "bootstrap:debian/bookworm"),
        ("3.12", "python:3.12-slim"),
        ("3.11.9", "python:3.11.9-slim"),
    ],
)
def test_a_debian_suite_comes_before_an_image_of_a_registry(python: str, base: str) -> None:
    assert base == base_of(Image(python=python))
    assert base == base_of(Image(python=python), {})


def test_a_base_that_is_asked_for_stays() -> None:
    mine = {"image.base": "conf/experiment/x.yaml:3"}
    assert "bootstrap:debian/trixie" == base_of(Image(python="3.11"), mine)
    assert "nvidia/cuda:12" == base_of(Image(base="nvidia/cuda:12", python="3.11"))
    assert "bootstrap:debian/trixie" == base_of(Image(python="3.11", dockerfile="/x/Dockerfile"))


def test_condas_environment_names_the_python(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text("dependencies: [python=3.11, pip: [tqdm]]")
    found = with_fitting_base(ExperimentSpec("x", image=Image(requirements=str(file))), where_in({})).image
    assert ("bootstrap:debian/bookworm", "3.11") == (found.base, found.python)
    assert "bootstrap:debian/trixie" == base_of(Image(requirements=str(file), python="3.13"))
    file.write_text("- not an environment")
    assert "bootstrap:debian/trixie" == base_of(Image(requirements=str(file)))


def test_a_python_that_cannot_be_had_says_what_would_do() -> None:
    refused = LaunchError("registry `x` refuses connections", hint="is it running?")
    where = where_in({"image.python": "conf/experiment/x.yaml:4"})
    no_uv = LaunchError("uv knows none", hint="a newer uv may")
    told = unreachable_base(refused, no_uv, Image(base="python:3.12-slim", python="3.12"), where)
    assert "no base with Python 3.12 can be had: registry `x` refuses connections; uv knows none" == told.message
    assert Origin(file="conf/experiment/x.yaml", line=4) == told.origin
    for words in ("`image.python=3.11`", "`image.python=3.13`", "`launch load`", "is it running?", "a newer uv may"):
        assert words in (told.hint or "")

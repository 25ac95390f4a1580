"""What cannot be had is exit 2 with the place of the key that asked for it."""

from __future__ import annotations

import pytest

from launcher.config.spec import Group, Image
from launcher.errors import ConfigError, Origin
from launcher.plan.requirements.error_origins import add_package_origin, add_requirement_origin, requirement_key
from runtime.errors import BuildError, NotAvailable

IMAGE = Image(
    apt=("git", "curll=8"),
    groups={
        "dev": Group(apt=("libfoo-dev",)),
        "with": Group(requirements=("Typing_Extensions>=99; python_version>'3'", "numpy")),
    },
)


def where(key: str) -> Origin:
    return Origin(override=key)


@pytest.mark.parametrize(
    ("message", "hint", "key"),
    [
        ("package `curll` is not in this suite", "did you mean `curl`?", "image.apt"),
        ("package `libfoo-dev` is not in this suite", None, "image.groups.dev.apt"),
        (
            "package `liba` needs `libb`, which is not available: no archive has it",
            "wanted by: liba ← git ← your list",
            "image.apt",
        ),
        ("the archive at `http://a/debian` has no suite `trixie`: …", "the address must be …", "image.base"),
    ],
)
def test_the_key_behind_a_package(message: str, hint: str | None, key: str) -> None:
    with pytest.raises(ConfigError) as caught, add_package_origin(IMAGE, where):
        raise NotAvailable(message, hint=hint)
    assert (2, message, hint, where(key)) == (
        caught.value.exit_code,
        caught.value.message,
        caught.value.hint,
        caught.value.origin,
    )


@pytest.mark.parametrize(
    ("suite", "hint"),
    [("trixi", "did you mean `bootstrap:debian/trixie`?"), ("nosuchsuite", "are suites that are known to work")],
)
def test_a_suite_that_is_not_there(suite: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught, add_package_origin(Image(base=f"bootstrap:debian/{suite}"), where):
        raise NotAvailable(f"the archive has no suite `{suite}`", hint="the address must be …")
    assert hint in (caught.value.hint or "")


def test_a_build_that_failed_stays_the_machines_failure() -> None:
    with pytest.raises(BuildError), add_package_origin(IMAGE, where):
        raise BuildError("the disk is gone")


def test_a_refused_requirement_has_the_place_of_the_one_it_is_about() -> None:
    with pytest.raises(ConfigError) as caught, add_requirement_origin(IMAGE, where):
        raise ConfigError("cannot be resolved: you require typing-extensions>=99")
    assert where("image.groups.with.requirements") == caught.value.origin


@pytest.mark.parametrize("words", ["you require numpy-financial>9", "you require scipy>99"])
def test_a_requirement_that_no_group_names_is_the_experiments(words: str) -> None:
    assert "image.requirements" == requirement_key(IMAGE, words)

"""A package that has no wheel for the base's Python: the message says so, and which Python has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheel_project import Project, make_wheel

from launcher.errors import ConfigError
from launcher.plan.requirements.pylock import choose_files
from launcher.plan.requirements.target import parse_target

TRIXIE = parse_target("3.13.5", "x86_64-manylinux_2_41")


def document(*tags: str, sdist: bool = False, **more: str) -> dict[str, object]:
    files = [{"name": f"tools-0.6.1-{tag}.whl", "path": "x", "hashes": {"sha256": "a" * 64}} for tag in tags]
    source = {"sdist": {"name": "tools-0.6.1.tar.gz", "path": "x", "hashes": {"sha256": "b" * 64}}} if sdist else {}
    return {**more, "packages": [{"name": "tools", "version": "0.6.1", "wheels": files, **source}]}


@pytest.mark.parametrize(
    ("tags", "message", "hint"),
    [
        (
            ("cp310-cp310-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_x86_64"),
            "no wheel of tools 0.6.1 for Python 3.13; bookworm's 3.11 has one",
            "`image.python=3.11` takes a base that has it",
        ),
        (("cp310-cp310-manylinux_2_17_x86_64",), "no wheel of tools 0.6.1 for Python 3.13; 3.10 has one", "`image.python=3.10`"),
    ],
)
def test_a_lock_without_a_file_for_this_python(tags: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as failed:
        choose_files(document(*tags), TRIXIE)
    assert message == failed.value.message
    assert (failed.value.hint or "").startswith(hint)


def test_a_lock_for_other_pythons() -> None:
    with pytest.raises(ConfigError, match=r"the lock is for Python >=3\.9,<3\.13, and the base has 3\.13\.5") as failed:
        choose_files(document("py3-none-any", **{"requires-python": ">=3.9,<3.13"}), TRIXIE)
    assert "`image.python=3.11` takes a base that has one" == failed.value.hint


def test_a_source_distribution_remembers_which_python_has_a_wheel(tmp_path: Path) -> None:
    (wheel,) = choose_files(document("cp311-cp311-manylinux_2_17_x86_64", sdist=True), TRIXIE)
    assert (True, "bookworm's 3.11") == (wheel.sdist, wheel.other_python)
    (wheel,) = choose_files(document(sdist=True), TRIXIE)
    assert wheel.other_python is None


def test_uvs_hint_about_tags_is_told_in_our_words(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for tag in ("cp310-cp310", "cp311-cp311"):
        make_wheel(project.wheels, "flow", "2.15", tag=f"{tag}-manylinux_2_17_x86_64")
    with pytest.raises(ConfigError, match=r"^no wheel of flow 2\.15 for Python 3\.13; bookworm's 3\.11 has one$"):
        project.resolve("flow==2.15")

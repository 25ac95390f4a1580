"""Lock files say what was locked, read back the same, and know when they have drifted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from launcher.config.spec import Index
from launcher.errors import ConfigError
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.lock_file import changes, current_lock, lock_file_text, pylock_text, read_lock_file
from launcher.plan.requirements.requirement_lines import RequirementRequest, read_requirements
from launcher.plan.requirements.resolve import lock_digest, request_digest
from runtime.oci.digest import Digest

WHEELS = (
    LockedWheel("numpy", "2.5.5", "a" * 64, "numpy-2.5.5-cp313-cp313-manylinux_2_27_x86_64.whl", size=17),
    LockedWheel("old-thing", "1.0", "b" * 64, "old_thing-1.0.tar.gz", sdist=True),
    LockedWheel("torch", "2.9+cu128", "c" * 64, "torch-2.9+cu128-cp313-cp313-linux_x86_64.whl", index="pytorch-cu128"),
    LockedWheel("direct", "1", "d" * 64, "direct-1-py3-none-any.whl", url="https://files.test/direct-1-py3-none-any.whl"),
)
PLATFORM = "x86_64-manylinux_2_41"
REQUIREMENTS = ["numpy", "torch"]


def lock(*wheels: LockedWheel) -> Lock:
    return Lock("3.13.5", PLATFORM, wheels, lock_digest(wheels), "resolved", torch="cu128")


def asked_of(requirements: list[str], **changed: Any) -> tuple[RequirementRequest, BasePython]:
    python = BasePython(changed.get("version", "3.13.5"), changed.get("platform", PLATFORM))
    return RequirementRequest(requirements, Path("/"), changed.get("indexes", Index()), changed.get("cuda", "12.8")), python


def inputs(requirements: list[str] = REQUIREMENTS, **changed: object) -> Digest:
    request, python = asked_of(requirements, **changed)
    return request_digest(request, read_requirements(request), python)


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    path = tmp_path / "digits.lock"
    path.write_text(lock_file_text(lock(*WHEELS), inputs=inputs(), command="launch lock experiment=digits"))
    return path


def test_a_lock_reads_back_as_it_was(lock_path: Path) -> None:
    found = read_lock_file(lock_path, python="3.13.5")
    assert found is not None
    assert (WHEELS, lock(*WHEELS).digest, "cu128", str(lock_path)) == (
        found.lock.wheels,
        found.lock.digest,
        found.lock.torch,
        found.lock.source,
    )


def test_a_lock_holds_no_address_that_the_person_did_not_write(lock_path: Path) -> None:
    assert ["https://files.test/direct-1-py3-none-any.whl"] == re.findall(r"\S+://\S+", lock_path.read_text())


def test_an_empty_lock_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(lock_file_text(lock(), inputs=inputs(), command="launch lock"))
    found = read_lock_file(path, python="3.13")
    assert found is not None
    assert () == found.lock.wheels


def test_a_pylock_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "pylock.digits.toml"
    addresses = {wheel.filename: f"https://files.test/{wheel.filename}" for wheel in WHEELS}
    path.write_text(pylock_text(lock(*WHEELS[:2]), inputs=inputs(), addresses=addresses))
    found = read_lock_file(path, python="3.13.5")
    assert found is not None
    assert (WHEELS[:2], inputs()) == (found.lock.wheels, found.inputs)


def test_a_pylock_without_an_address_says_how_to_get_it() -> None:
    with pytest.raises(ConfigError, match="numpy-2") as failed:
        pylock_text(lock(*WHEELS), inputs=inputs(), addresses={})
    assert "--refresh" in (failed.value.hint or "")


def ask(path: Path, requirements: list[str] = REQUIREMENTS, **changed: object) -> tuple[Lock | None, str | None]:
    return current_lock(path, *asked_of(requirements, **changed))


def test_a_lock_is_used_while_its_inputs_are_the_same(lock_path: Path) -> None:
    found, why = ask(lock_path)
    assert why is None
    assert found is not None
    assert WHEELS == found.wheels


def test_another_mirror_or_patch_release_does_not_matter(lock_path: Path) -> None:
    assert ask(lock_path, indexes=Index(url="https://mirror.test"), version="3.13.7")[0] is not None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"requirements": ["numpy", "torch", "tqdm"]}, "requirements have changed"),
        ({"version": "3.11.2"}, r"for Python 3\.13, the base has 3\.11"),
        ({"platform": "x86_64-manylinux_2_36"}, "manylinux_2_41"),
        ({"cuda": None}, "requirements have changed"),
        ({"indexes": Index(exclude_newer="2026-01-01")}, "requirements have changed"),
    ],
)
def test_drift_is_told_in_words(lock_path: Path, changed: dict[str, object], words: str) -> None:
    found, why = ask(lock_path, **changed)  # type: ignore[arg-type]
    assert found is None
    assert re.search(words, why or "")


def test_no_lock_file_is_no_drift(tmp_path: Path) -> None:
    assert (None, None) == ask(tmp_path / "none.lock")


@pytest.mark.parametrize("text", ["numpy==1\n", "# inputs: x\n# python: 3.13\n# platform: y\n\nnumpy==1\n"])
def test_a_foreign_or_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.lock"):
        read_lock_file(path, python="3.13")


def test_changes_name_what_moved() -> None:
    moved = LockedWheel("numpy", "2.6.0", "e" * 64, "numpy-2.6.0-py3-none-any.whl")
    rebuilt = LockedWheel("old-thing", "1.0", "f" * 64, "old_thing-1.0.zip", sdist=True)
    new = LockedWheel("tqdm", "4", "9" * 64, "tqdm-4-py3-none-any.whl")
    assert ["- direct 1", "numpy 2.5.5 → 2.6.0", "old-thing 1.0: another file, old_thing-1.0.zip", "+ tqdm 4"] == changes(
        lock(*WHEELS), lock(moved, rebuilt, WHEELS[2], new)
    )

"""Our `NamedTuple` is typing's, as far as it goes: each sentence holds for both."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import typing
from typing import Any

import pytest

from runtime import light_typing


class Ours(light_typing.NamedTuple):
    """A document."""

    name: str
    size: int = 3
    """Bytes."""

    @property
    def doubled(self) -> int:
        return 2 * self.size


class Theirs(typing.NamedTuple):
    name: str
    size: int = 3

    @property
    def doubled(self) -> int:
        return 2 * self.size


BOTH = pytest.mark.parametrize("kind", [pytest.param(Ours, id="ours"), pytest.param(Theirs, id="typing's")])


@BOTH
def test_fields_come_by_place_by_name_and_by_default(kind: Any) -> None:
    assert ("a", 3, 6) == (*kind("a"), kind("a").doubled)
    assert kind("a", 4) == kind(size=4, name="a") == ("a", 4)
    assert ("b", 4) == kind("a", 4)._replace(name="b")
    assert {"name": "a", "size": 3} == kind("a")._asdict()
    assert ("name", "size") == kind._fields


@BOTH
@pytest.mark.parametrize("make", [lambda kind: kind(), lambda kind: kind("a", 1, 2), lambda kind: kind("a", name="b")])
def test_what_fits_no_field_is_refused(kind: Any, make: Any) -> None:
    with pytest.raises(TypeError):
        make(kind)


@BOTH
def test_an_unknown_field_cannot_be_replaced_and_none_can_be_set(kind: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        kind("a")._replace(colour="red")
    with pytest.raises(AttributeError):
        kind("a").size = 4
    with pytest.raises(AttributeError):
        kind("a").colour = "red"


@BOTH
def test_a_record_shows_itself_and_can_be_copied(kind: Any) -> None:
    one = kind("a", 4)
    assert f"{kind.__name__}(name='a', size=4)" == repr(one)
    assert one == copy.copy(one) == pickle.loads(pickle.dumps(one))
    assert type(pickle.loads(pickle.dumps(one))) is kind


def test_the_command_that_runs_a_bundle_does_not_import_typing() -> None:
    """It costs more than the kernel takes to make a namespace; docs/decisions/140."""
    names = ("main", "commands.create", "commands.exec", "commands.control", "commands.show")
    code = "".join(f"import runtime.oci_runtime.{name}\n" for name in names) + "import sys\nprint(*sys.modules)"
    place = importlib.import_module("runtime").__path__[0].rpartition("/")[0]
    started = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {place!r})\n{code}"]
    loaded = subprocess.run(started, capture_output=True, text=True, check=True).stdout.split()
    assert set() == {"typing", "dataclasses", "inspect"} & set(loaded)

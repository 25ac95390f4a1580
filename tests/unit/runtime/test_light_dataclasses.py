"""Data classes that a short command can afford: they do what those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from types import ModuleType
from typing import Any

import pytest

from runtime import light_dataclasses

BODY = """
from __future__ import annotations

@dataclass(frozen=True, slots=True)
class Layer:
    '''A layer.'''
    digest: str
    size: int = 0
    labels: dict = field(default_factory=dict)
    at: float | None = field(default=None, compare=False)
    secret: str = field(default='', repr=False)

    @property
    def is_empty(self):
        return self.size == 0

@dataclass(frozen=True, slots=True)
class Compressed(Layer):
    algorithm: str = 'zstd'

@dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int = 0

@dataclass(slots=True)
class Counter:
    start: int
    step: int = 1
    value: int = field(init=False)
    seen: list = field(init=False, default_factory=list)

    def __post_init__(self):
        self.value = self.start

@dataclass
class Plain:
    word: str = 'a'
    parts: tuple = ()

    def __repr__(self):
        return 'own'

@dataclass(frozen=True)
class Nothing:
    pass
"""


def made_with(library: ModuleType) -> dict[str, Any]:
    names = {"dataclass": library.dataclass, "field": library.field, "__name__": __name__}
    exec(BODY, names)
    return names


OURS, THEIRS = made_with(light_dataclasses), made_with(dataclasses)
EXPRESSIONS = [
    "Layer('a')",
    "Layer('a', 3, {'b': 1}, 2.0, secret='s')",
    "Layer('a') == Layer('a', at=1.0), Layer('a') == Layer('b'), Layer('a') == Compressed('a'), Layer('a') == 1",
    "Layer('a').labels is Layer('a').labels",
    "Layer('a').is_empty, Layer.__doc__, Layer.__slots__, Layer.__match_args__, Layer.__qualname__, Layer.__module__",
    "Compressed('a', algorithm='gzip'), Compressed.__slots__, Compressed.__match_args__",
    "hasattr(Layer('a'), '__dict__'), hasattr(Plain(), '__dict__')",
    "sorted([Version(2), Version(1, 3), Version(1)]), Version(1) < Version(2), Version(1) >= Version(1, 0)",
    "len({Version(1), Version(1, 0), Version(2)}), hash(Nothing()) == hash(())",
    "Counter(4), Counter(4).value, Counter(4).seen, Counter.__hash__, Counter(4) == Counter(4)",
    "Plain(), Plain('b') == Plain('b'), Plain.word, Plain(parts=(1,)).parts",
    "Nothing(), Nothing() == Nothing()",
    "Layer()",
    "Layer('a', nobody=1)",
    "Layer('a', 1, {}, None, '', 6)",
    "Version(1) < 3",
    "hash(Layer('a'))",
    "hash(Counter(1))",
    "setattr(Version(1), 'minor', 3)",
    "delattr(Version(1), 'minor')",
    "setattr(Counter(1), 'nobody', 3)",
    "Counter(1, 2, 3)",
]


def outcome(names: dict[str, Any], expression: str) -> str:
    try:
        return repr(eval(expression, names))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("made_before", [0, 40], ids=["first-objects", "compiled"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_they_are_and_refuse_what_those_of_the_standard_library_do(expression: str, made_before: int) -> None:
    ours = made_with(light_dataclasses)
    for _ in range(made_before):
        for first in ("Layer('a')", "Compressed('a')", "Version(1)", "Counter(4)", "Plain()", "Nothing()"):
            eval(first, ours)
    assert outcome(THEIRS, expression) == outcome(ours, expression)


def test_nothing_is_compiled_for_the_first_objects_of_a_class() -> None:
    """It takes 0.15 ms, and each trial of a sweep makes objects of forty classes."""
    ours = made_with(light_dataclasses)
    compiled = set()
    for number in range(40):
        ours["Layer"](f"layer-{number}", 3)
        compiled.add(ours["Layer"].__init__.__code__.co_filename == "<string>")
        assert number > 8 or compiled == {False}
    assert compiled == {False, True}


@pytest.mark.parametrize(
    "expression", ["Layer('a', 3, {'b': Version(1)})", "Counter(4)", "Plain('b', (Version(1), [Version(2)]))"]
)
def test_functions_for_them_answer_as_those_of_the_standard_library(expression: str) -> None:
    ours, theirs = eval(expression, OURS), eval(expression, THEIRS)
    assert dataclasses.asdict(theirs) == light_dataclasses.asdict(ours)
    names = [each.name for each in light_dataclasses.fields(ours)]
    assert names == [each.name for each in dataclasses.fields(theirs)]
    assert [each.type for each in dataclasses.fields(theirs)] == [each.type for each in light_dataclasses.fields(ours)]
    assert light_dataclasses.is_dataclass(ours)
    assert light_dataclasses.is_dataclass(type(ours))
    assert not light_dataclasses.is_dataclass(names)


def test_a_changed_copy_has_the_other_values_and_refuses_unknown_ones() -> None:
    layer = OURS["Layer"]("a", 3, at=2.0)
    assert OURS["Layer"]("a", 4) == light_dataclasses.replace(layer, size=4)
    assert 2.0 == light_dataclasses.replace(layer, size=4).at
    with pytest.raises(TypeError):
        light_dataclasses.replace(layer, sise=4)


@light_dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    word: str
    parts: tuple[int, ...] = ()


def test_they_are_copied_and_sent_to_other_processes() -> None:
    sent = Sent("a", (1, 2))
    assert sent == pickle.loads(pickle.dumps(sent))
    assert sent == copy.copy(sent)
    assert sent == copy.deepcopy(sent)

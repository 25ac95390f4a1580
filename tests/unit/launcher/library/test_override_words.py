"""What a program passes as overrides is what a person would have typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.config.compose import parse_overrides
from launcher.errors import ConfigError
from launcher.library.override_words import override_words


class Array:
    """As NumPy's arrays and numbers are turned into Python's."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def tolist(self) -> Any:
        return self.content


@pytest.mark.parametrize(
    ("value", "word"),
    [
        pytest.param(0.1, "key=0.1", id="a number"),
        pytest.param(True, "key=true", id="a truth value"),
        pytest.param(None, "key=null", id="None"),
        pytest.param("it's, so", "key='it\\'s, so'", id="text that means something in the grammar"),
        pytest.param("0.1", "key='0.1'", id="text that looks like a number"),
        pytest.param((64, 32), "key=[64,32]", id="a tuple"),
        pytest.param(Path("/data"), "key='/data'", id="a path"),
        pytest.param(Array(0.5), "key=0.5", id="a number of NumPy's"),
        pytest.param(Array([1, 2]), "key=[1,2]", id="an array"),
        pytest.param({}, "key={}", id="an empty mapping"),
    ],
)
def test_a_value_is_written_in_hydras_grammar(value: Any, word: str) -> None:
    assert [word] == override_words([{"key": value}])
    parse_overrides([word])


def test_mappings_in_mappings_are_dotted_and_text_stays() -> None:
    assert ["params.opt.lr=0.1", "seed=3", "+params.new=1", "~params.note"] == override_words(
        [{"params": {"opt": {"lr": 0.1}}, "seed": 3}, "+params.new=1", "~params.note"]
    )


def test_in_a_sweep_a_list_holds_values_to_try() -> None:
    words = override_words([{"params.lr": Array([0.1, 0.01]), "params.hidden": [[64, 32], [128]], "seed": range(2)}], swept=True)
    assert ["params.lr=0.1,0.01", "params.hidden=[64,32],[128]", "seed=0,1"] == words
    assert all(override.is_sweep_override() for override in parse_overrides(words))
    with pytest.raises(ConfigError, match="`seed` has no values to try"):
        override_words([{"seed": []}], swept=True)


@pytest.mark.parametrize("wrong", [{"key": object()}, {"key": [object()]}, 3, "-m", None])
def test_what_is_no_override_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is no"):
        override_words([wrong])

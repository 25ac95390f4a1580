"""Words of a command are filled in after splitting, so that no value can become two words or reach a shell."""

from __future__ import annotations

import pytest

from launcher.errors import ConfigError, Origin
from launcher.plan.program.command import fill

TREE = {
    "gpus": 2,
    "params": {
        "lr": 1e-3,
        "tiny": 1e-5,
        "hidden": [64, 32],
        "title": "a b; c 'd'",
        "amp": True,
        "note": None,
        "nested": {"a": [{"b": 7}]},
    },
}


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        pytest.param("--lr=${params.lr}", ("--lr=0.001",), id="shortest repr"),
        pytest.param("${params.tiny}", ("1e-05",), id="exponent"),
        pytest.param("${params.hidden}", ("64", "32"), id="a list alone becomes words"),
        pytest.param("--hidden=${params.hidden}", ("--hidden=[64,32]",), id="a list inside a word is JSON"),
        pytest.param("${params.title}", ("a b; c 'd'",), id="spaces and quotes stay one word"),
        pytest.param("--amp=${params.amp}", ("--amp=true",), id="booleans as in YAML"),
        pytest.param("${gpus}", ("2",), id="any key of the spec"),
        pytest.param("${params.nested.a[0].b}", ("7",), id="an index"),
        pytest.param("${params.nested.a.0.b}", ("7",), id="an index, OmegaConf's other spelling"),
        pytest.param("${params.nested}", ('{"a":[{"b":7}]}',), id="a mapping is JSON"),
        pytest.param("${params.lr}-${gpus}", ("0.001-2",), id="two in a word"),
        pytest.param(r"\${HOME}", ("${HOME}",), id="escaped"),
        pytest.param("$HOME;rm", ("$HOME;rm",), id="no shell"),
        pytest.param(7, ("7",), id="a number as word"),
    ],
)
def test_fill(word, filled):
    assert ("python3", *filled) == fill(["python3", word], TREE)


def test_an_empty_list_alone_becomes_no_word():
    assert fill(["prog", "${params.x}"], {"params": {"x": []}}) == ("prog",)


def test_null_is_refused_with_the_place_it_came_from():
    with pytest.raises(ConfigError, match=r"params\.note is null, so the word `--note=\$\{params\.note\}`") as caught:
        fill(["prog", "--note=${params.note}"], TREE, origin=Origin(file="x.yaml", line=3))
    assert str(caught.value.origin) == "x.yaml:3"


def test_a_near_miss_is_named():
    with pytest.raises(ConfigError, match="does not exist") as caught:
        fill(["prog", "${params.lrr}"], TREE)
    assert caught.value.hint == "did you mean `${params.lr}`?"


@pytest.mark.parametrize("word", ["${params.hidden[9]}", "${params.lr.x}", "${nope}"])
def test_what_does_not_exist_is_refused(word):
    with pytest.raises(ConfigError, match="does not exist"):
        fill(["prog", word], TREE)


def test_an_empty_command_is_refused():
    with pytest.raises(ConfigError, match="`command` is empty"):
        fill(["${params.x}"], {"params": {"x": []}})


def test_the_tree_is_made_only_when_a_word_refers_to_it():
    def tree():
        raise AssertionError("not needed")

    assert fill(["true", "x"], tree) == ("true", "x")

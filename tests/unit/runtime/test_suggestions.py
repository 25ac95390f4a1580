"""What somebody meant who mistyped a word."""

from __future__ import annotations

from runtime.suggestions import closest, did_you_mean, similar


def test_the_nearest_word_is_named_as_it_would_be_written() -> None:
    assert "did you mean `--color`?" == did_you_mean("colour", ["collect", "color"], prefix="--")
    assert "did you mean `${params.lr}`?" == did_you_mean("param.lr", ["params.lr"], prefix="${", suffix="}")


def test_several_near_words_are_all_named() -> None:
    assert "did you mean `train` or `trail`?" == did_you_mean("trainn", ["trail", "other", "train"], limit=3)


def test_nothing_near_is_no_hint() -> None:
    assert did_you_mean("xyz", ["color"]) is None
    assert closest("xyz", []) is None
    assert [] == similar("xyz", ["color"], limit=3)

"""Variables and quotes of words as BuildKit's `shell.Lex` reads them: the cases are its behaviour, not ours to choose."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.expand import expand, expand_words, unset_names

ENV = {"HOME": "/home", "EMPTY": "", "KOREAN": "한국어", "FILE": "a/b/c.tar.gz", "STARS": "a***yy*", "SPACES": " ab  c "}

QUOTES = [
    ("hello", "hello"),
    ("he'll'o", "hello"),
    (r"he\'llo", "he'llo"),
    (r"abc\tdef", "abctdef"),
    (r'"abc\tdef"', r"abc\tdef"),
    (r'"abc\\tdef"', r"abc\tdef"),
    (r"'abc\tdef'", r"abc\tdef"),
    ("hello\\", "hello"),
    ("hello\\\\", "hello\\"),
    ('"hel\'lo"', "hel'lo"),
    ("'hello\\'", "hello\\"),
    ("\"''\"", "''"),
    ("a  b", "a  b"),
    ("안'녕'하세요", "안녕하세요"),
    ("a < b << c", "a < b << c"),
]
VALUES = [
    ("$.", "$."),
    ("he$1x", "hex"),
    ("he$HOME", "he/home"),
    (r"he\$HOME", "he$HOME"),
    (r"he\\$HOME", r"he\/home"),
    (r'"he\\$HOME"', r"he\/home"),
    ("\"he'$HOME'\"", "he'/home'"),
    ("'$HOME'", "$HOME"),
    (r"\${}aaa", "${}aaa"),
    ("${none}", ""),
    ("${HOME}}", "/home}"),
    ("안녕$KOREAN", "안녕한국어"),
    ("$@@@", "@@"),
    ("$999aaa", "aaa"),
    ("$$", ""),
    ("${SPACES}", " ab  c "),
]
MODIFIERS = [
    ("he${none:-000}xx", "he000xx"),
    ("he${HOME:-000}xx", "he/homexx"),
    ("he${none:-${no:-yyy}}xx", "heyyyxx"),
    (r"he${none:-\$HOME:}xx", "he$HOME:xx"),
    ("${EMPTY-a} ${EMPTY:-a} ${none-a}", " a a"),
    ("${EMPTY+a} ${EMPTY:+a} ${none+a} ${HOME:+${HOME}:}", "a   /home:"),
    ("${EMPTY?} ${HOME:?}", " /home"),
    ("${none:-}", ""),
    ("${1:-bbb}aaa", "bbbaaa"),
    ("${FILE##*/} ${FILE#*/} ${FILE%.*} ${FILE%%.*}", "c.tar.gz b/c.tar.gz a/b/c.tar a/b/c"),
    ("${FILE#nothing} ${FILE#} ${FILE%%}", "a/b/c.tar.gz a/b/c.tar.gz a/b/c.tar.gz"),
    (r"${STARS%%\**\*}", "a"),
    ("${STARS#?}", "***yy*"),
    ("${FILE/a/x} ${FILE//a/x} ${FILE//?a/-}", "x/b/c.tar.gz x/b/c.txr.gz a/b/c.-r.gz"),
    (r"${FILE//\//\/}", r"a\/b\/c.tar.gz"),
    ("${FILE/none/x} ${EMPTY/a/b}", "a/b/c.tar.gz "),
    ("${FILE//*/x}", "x"),
    ("${FILE/$EMPTY/ww}", "wwa/b/c.tar.gz"),
    ("${HOME///}", "/home"),
    ("v1${none:+-${none}}.tar", "v1.tar"),
]
REFUSED = [
    ("he'llo", "single quote"),
    ('"hello', "double quote"),
    ('"hello\\"', "double quote"),
    ("${}", "name"),
    ("${:-bbb}", "name"),
    ("${{aaa}", "name"),
    ("${aaa", "`}`"),
    ("${aaa:-bbb ${foo}", "`}`"),
    ("${HOME:=000}xx", "modifier `:=`"),
    ("${HOME=a}", "modifier `=`"),
    ("${HOME:#}", "modifier `:#`"),
    ("${.}", "modifier `.`"),
    ("${none:?say it}", "none: say it"),
    ("${none?}", "is not allowed to be unset"),
    ("${EMPTY:?}", "is not allowed to be empty"),
    ("${FILE//ww}", "`/` is missing"),
    (r"${FILE#\x}", "is not a pattern"),
]


@pytest.mark.parametrize(("word", "expected"), [*QUOTES, *VALUES, *MODIFIERS])
def test_a_word_is_what_buildkit_makes_of_it(word: str, expected: str) -> None:
    assert expected == expand(word, ENV)


@pytest.mark.parametrize(("word", "why"), REFUSED)
def test_a_word_that_buildkit_refuses_is_refused_with_its_place(word: str, why: str) -> None:
    origin = Origin(file="Dockerfile", line=7)
    with pytest.raises(ConfigError) as caught:
        expand(word, ENV, origin=origin)
    assert why in caught.value.message
    assert (2, origin) == (caught.value.exit_code, caught.value.origin)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hello${SPACES}bye", ["hello", "ab", "c", "bye"]),
        ('hello"${SPACES}"bye', ["hello ab  c bye"]),
        ('hello "${SPACES}"bye', ["hello", " ab  c bye"]),
        (r"hello\ there", ["hello there"]),
        (r"hello\" there", ['hello"', "there"]),
        ("a${none:-b}c d", ["abc", "d"]),
        ('"" a', ["a"]),
    ],
)
def test_words_are_split_after_their_values_are_known(word: str, expected: list[str]) -> None:
    assert expected == expand_words(word, ENV)


def test_a_backtick_can_be_what_escapes() -> None:
    assert r"C:\dir$HOME" == expand(r"C:\dir`$HOME", ENV, escape="`")


def test_variables_that_nobody_set_are_known() -> None:
    assert {"no", "cut"} == unset_names("$HOME ${none:-x} ${none+x} '$quoted' ${no} ${cut%.*}", ENV)


def test_without_special_characters_a_word_stays_as_it_is() -> None:
    for _ in range(300):
        word = "".join(random.choices("ab 0._/:=-#%+?*{}[]()é", k=12))
        assert word == expand(word, ENV)


def test_single_quotes_keep_everything() -> None:
    for _ in range(300):
        text = "".join(random.choices('ab $\\"{}:-`', k=12))
        assert text == expand(f"'{text}'", ENV)


def test_double_quotes_keep_what_is_escaped_in_them() -> None:
    for _ in range(300):
        text = "".join(random.choices("ab $\\\"'{}:-", k=12))
        escaped = "".join(f"\\{char}" if char in '\\"$' else char for char in text)
        assert text == expand(f'"{escaped}"', ENV)


def test_whatever_stands_there_is_read_or_refused() -> None:
    for _ in range(3000):
        word = "".join(random.choices("$${{}}::-+?#%/'\"\\<aHOME *", k=random.randrange(16)))
        with suppress(ConfigError):
            expand(word, ENV)
            expand_words(word, ENV)

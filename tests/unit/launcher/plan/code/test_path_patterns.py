"""Patterns mean what git means by them."""

from __future__ import annotations

import pytest

from launcher.plan.code.path_patterns import ignore_rules, is_ignored, path_filter


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        pytest.param("*.log", "deep/down/a.log", id="no slash matches at any depth"),
        pytest.param("/build", "build", id="leading slash anchors"),
        pytest.param("doc/*.txt", "doc/a.txt", id="inner slash anchors"),
        pytest.param("**/cache", "a/b/cache", id="leading double star"),
        pytest.param("a/**/z", "a/z", id="inner double star matches no directory"),
        pytest.param("a/**/z", "a/b/c/z", id="inner double star matches several"),
        pytest.param("data/**", "data/x/y", id="trailing double star"),
        pytest.param("***/cache", "a/b/cache", id="more stars are two"),
        pytest.param("file[0-9]", "file7", id="class"),
        pytest.param("file[!a-z]", "file7", id="negated class"),
        pytest.param(r"\#notes", "#notes", id="escaped hash"),
        pytest.param(r"\!important", "!important", id="escaped exclamation mark"),
        pytest.param("name\\ ", "name ", id="escaped trailing space"),
        pytest.param("name   ", "name", id="trailing spaces are dropped"),
    ],
)
def test_pattern_matches(pattern, path):
    assert is_ignored(path, ignore_rules(pattern), is_directory=False)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        pytest.param("/build", "sub/build", id="leading slash anchors"),
        pytest.param("doc/*.txt", "doc/sub/a.txt", id="star stops at a slash"),
        pytest.param("doc/*.txt", "sub/doc/a.txt", id="inner slash anchors"),
        pytest.param("a?c", "a/c", id="question mark is no slash"),
        pytest.param("a[!b]c", "a/c", id="class is no slash"),
        pytest.param("out/", "out", id="trailing slash means directories"),
        pytest.param("# comment", "# comment", id="comment"),
    ],
)
def test_pattern_does_not_match(pattern, path):
    assert not is_ignored(path, ignore_rules(pattern), is_directory=False)


def test_the_last_rule_that_matches_decides():
    rules = ignore_rules("*.log\n!keep.log\n")
    assert is_ignored("a.log", rules, is_directory=False)
    assert not is_ignored("keep.log", rules, is_directory=False)


def test_a_rule_holds_below_its_own_directory_only():
    rules = ignore_rules("/x", base="sub/")
    assert is_ignored("sub/x", rules, is_directory=False)
    assert not is_ignored("x", rules, is_directory=False)


def test_an_included_directory_stands_for_everything_below_it():
    keeps = path_filter(["src", "*.toml"]).keeps
    assert keeps("src/a/b.py")
    assert keeps("deep/x.toml")
    assert not keeps("data/a.bin")


def test_exclude_wins_over_include():
    keeps = path_filter(["**"], ["notebooks/**", "*.ipynb"]).keeps
    assert keeps("train.py")
    assert not keeps("notebooks/a/b.txt")
    assert not keeps("a/b.ipynb")

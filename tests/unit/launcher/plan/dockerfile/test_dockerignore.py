"""Ignore files: the patterns of `moby/patternmatcher`, walked as BuildKit walks a context."""

from __future__ import annotations

import pytest

from launcher.errors import ConfigError
from launcher.plan.dockerfile.dockerignore import Ignore

FITS = [
    ("**", "dir/file"),
    ("**/", "file"),
    ("**/**", "dir/file"),
    ("dir/**", "dir/dir2/file"),
    ("**/dir", "dir/file"),
    ("**/dir2/*", "dir/dir2/file"),
    ("**/dir2/**", "dir/dir2/dir3/file"),
    ("**file", "dir/afile"),
    ("**/file*txt", "dir/dir/file.txt"),
    ("**/**/*.txt", "file.txt"),
    ("a**/*.txt", "a/dir/dir/file.txt"),
    ("a/*.txt**", "a/file.txt"),
    ("a[b-d]e", "ace"),
    ("a[^b-d]e", "aze"),
    ("[a-ζ]*", "α"),
    (r"a[\-x]b", "a-b"),
    (".*", ".foo"),
    ("a.|)$(}+{bc", "a.|)$(}+{bc"),
    (r"a\*b", "a*b"),
    ("abc?def", "abcZdef"),
    ("*", "a/b/c"),
    ("/build", "build/x"),
    ("build/", "build"),
    ("./a/../build", "build"),
    ("  build  ", "build"),
    ("*/temp*", "somedir/temporary.txt"),
    ("# not one\nbuild", "build"),
    (" #", "#"),
    ("\ufeffbuild", "build"),
    ("a\r\nbuild\r\n", "build"),
]
FITS_NOT = [
    ("dir/**", "dir"),
    ("**/**/*.txt2", "dir/dir/file.txt"),
    ("a/*.txt", "a/dir/file.txt"),
    ("a[b-d]e", "aae"),
    ("abc.def", "abcZdef"),
    ("**/.foo", "bar.foo"),
    ("*/temp*", "temporary.txt"),
    ("temp*", "somedir/temporary.txt"),
    ("build", "src/build"),
    ("a*b", "a/b"),
    ("#build", "#build"),
    ("build", "builder"),
    (".", "file"),
    ("/", "file"),
    ("^a", "a"),
]
EXCEPTIONS = [
    ("docs\n!docs/README.md", "docs/README.md", False),
    ("docs\n!docs/README.md", "docs/other", True),
    ("docs/*\n!docs/README.md", "docs/README.md", False),
    ("!file\n*", "file", True),
    ("**\n!util/web", "util/web/foo", False),
    ("**\n!util/web\nutil/web/foo", "util/web/foo", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*\n!src\nsrc/**/*.pyc", "src/a/b.pyc", True),
    ("*\n!src\nsrc/**/*.pyc", "src/a/b.py", False),
    ("a\n! a/b", "a/b", False),
    ("a\n!/a/b/", "a/b/c", False),
]


@pytest.mark.parametrize(("text", "path"), FITS)
def test_what_a_pattern_fits_is_left_out(text: str, path: str) -> None:
    assert Ignore.parse(text).excludes(path)


@pytest.mark.parametrize(("text", "path"), FITS_NOT)
def test_what_no_pattern_fits_stays(text: str, path: str) -> None:
    assert not Ignore.parse(text).excludes(path)


@pytest.mark.parametrize(("text", "path", "excluded"), EXCEPTIONS)
def test_the_last_line_that_fits_decides(text: str, path: str, excluded: bool) -> None:
    ignore = Ignore.parse(text)
    assert ignore.has_exceptions
    assert excluded == ignore.excludes(path)


def test_an_empty_file_leaves_nothing_out() -> None:
    ignore = Ignore.parse("\n\n# nothing\n")
    assert not ignore.excludes("a/b")
    assert not ignore.has_exceptions


@pytest.mark.parametrize("pattern", ["[", "a[", "[]a]", "[-x]", "[x-]", "[^", "a\\", "!", "!  "])
def test_a_bad_pattern_is_refused_with_its_line(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ignore.parse(f"# first\nbuild\n{pattern}\n", path="Dockerfile.dockerignore")
    assert "Dockerfile.dockerignore:3" == str(caught.value.origin)


def test_patterns_of_a_flag_know_no_comments() -> None:
    assert Ignore.of(["#a"]).excludes("#a")

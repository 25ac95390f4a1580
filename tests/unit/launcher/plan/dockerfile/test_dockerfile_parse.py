"""Instructions as BuildKit's parser reads them; the cases follow its own test files and `instructions/parse.go`."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.arguments import DurationError, nanoseconds
from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.parse import parse, parse_trigger


def only(text: str, *, before: str = "FROM a\n") -> Instruction:
    """The one instruction of *text*."""
    (instruction,) = parse(before + text, path="Dockerfile").stages[0].instructions
    return instruction


LINES = [
    ("RUN echo hello\\\n  world\\\n\tmoon  \\\n light\\\nning", "echo hello  world\tmoon   lightning"),
    ("RUN echo hello  \\  \nworld", "echo hello  world"),
    ("RUN echo hi \\\n \\\n world \\\n\\\n good\\\n\\\nnight", "echo hi   world  goodnight"),
    ("RUN echo a \\\n# a comment\n\n  # another\n\nb", "echo a b"),
    ("RUN foo \\\n\nbar \\\n\nbaz", "foo bar baz"),
    ("RUN a \\", "a"),
    ("RUN a \\\n", "a"),
    ("RUN a\\\\\n", "a\\\\"),
    ("\t  run   a  b\t ", "a  b"),
    ("RuN\ta", "a"),
    ("RUN a \\\r\n  && b\r\n", "a   && b"),
    ("\\\nRUN a", "a"),
    ("RUN echo '# no comment'", "echo '# no comment'"),
    ("RUN a # no comment", "a # no comment"),
    ("RUN --network=none  a", "a"),
    ("RUN -- --network=none", "--network=none"),
]
WORDS: list[tuple[str, tuple[str, ...]]] = [
    ('CMD ["a", "b c"]', ("a", "b c")),
    ('CMD\t[\t"a",\t"b"\t]\t', ("a", "b")),
    ("CMD []", ()),
    ('CMD [""]', ("",)),
    ('CMD ["♥", "\\" \\\\ \\/ \\n \\u0041 \\ud83d\\ude00"]', ("♥", '" \\ / \n A 😀')),
    ('CMD \\\n ["a", \\\n "b"]', ("a", "b")),
    ('RUN --mount=type=tmpfs,target=/a ["x"]', ("x",)),
    ("COPY a b /c/", ("a", "b", "/c/")),
    ('COPY ["a b", "/c d/"]', ("a b", "/c d/")),
    ("COPY [a b", ("[a", "b")),
    ('ADD \\conf\\\\" /.znc', ('\\conf\\\\"', "/.znc")),
    ("COPY <<EOF <<X /dest\nEOF\nX", ("<<EOF", "<<X", "/dest")),
    ("ENV name value", ("name=value",)),
    ("ENV name  value with  spaces", ("name=value with  spaces",)),
    ("ENV SCUBA 1 DUBA=3", ("SCUBA=1 DUBA=3",)),
    ("ENV a=b c=d", ("a=b", "c=d")),
    ("ENV a=", ("a=",)),
    ('ENV a="b c"', ('a="b c"',)),
    (r"ENV a=b\ c d=\"", (r"a=b\ c", r"d=\"")),
    (r"ENV a='b\'", (r"a='b\'",)),
    ("ENV a='b' \\\n    c=\"d \\\n   e\" \\\n", ("a='b'", 'c="d    e"')),
    ("ENV a==b", ("a==b",)),
    ("ENV a=b=c", ("a=b=c",)),
    ('LABEL "com.example"="x y" b=', ('"com.example"="x y"', "b=")),
    ("LABEL maintainer James <j@x>", ("maintainer=James <j@x>",)),
    ('ARG a b=c d="e f"', ("a", "b=c", 'd="e f"')),
    ("EXPOSE 80 443/tcp 53/udp", ("80", "443/tcp", "53/udp")),
    ("USER  me:us ", ("me:us",)),
    ("WORKDIR /a b/c", ("/a b/c",)),
    ("STOPSIGNAL SIGINT", ("SIGINT",)),
    ("VOLUME /a /b", ("/a", "/b")),
    ('VOLUME ["/a", "/b c"]', ("/a", "/b c")),
    ('SHELL ["/bin/bash", "-c"]', ("/bin/bash", "-c")),
    ("MAINTAINER me and you", ("me and you",)),
    ("HEALTHCHECK none", ("NONE",)),
    ("HEALTHCHECK --interval=5s  cmd   curl  x", ("CMD", "curl  x")),
    ('HEALTHCHECK CMD ["a", "b"]', ("CMD", "a", "b")),
    ('ONBUILD RUN ["a"]', ('RUN ["a"]',)),
    ("onbuild copy --from=b a /", ("copy --from=b a /",)),
]
NOT_JSON = [
    "[ 'a', 'b' ]",
    '["a",]',
    '["a"] b',
    '["a" "b"]',
    '["a',
    "[NaN]",
    "[ -f /x ] && y",
    "'[\"a\"]'",
    '["a\\x"]',
]


@pytest.mark.parametrize(("text", "expected"), LINES)
def test_lines_are_joined_as_buildkit_joins_them(text: str, expected: str) -> None:
    instruction = only(text)
    assert ("RUN", "shell", (expected,)) == (instruction.keyword, instruction.form, instruction.words)


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words_of_an_instruction(text: str, expected: tuple[str, ...]) -> None:
    assert expected == only(text).words


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_no_json_is_a_command_line(text: str) -> None:
    instruction = only(f"CMD {text}")
    assert ("shell", (text,)) == (instruction.form, instruction.words)


def test_a_command_line_that_was_meant_as_an_array_is_pointed_out() -> None:
    warnings = parse("FROM a\nCMD [ 'a', 'b' ]\nRUN [ -f x ] && y\nRUN [[ -f x ]]", path="Dockerfile").warnings
    assert ["Dockerfile:2"] == [str(warning.origin) for warning in warnings]
    assert "not JSON" in warnings[0].message


def test_flags_have_their_quotes_removed() -> None:
    flags = only("""COPY --from="a b" --chown='u':g --link --exclude=x --exclude=\\y --parents=FALSE a b""")
    assert (
        ("from", "a b"),
        ("chown", "u:g"),
        ("link", None),
        ("exclude", "x"),
        ("exclude", "y"),
        ("parents", "FALSE"),
    ) == flags.flags
    assert ("a b", None, ("x", "y")) == (flags.flag("from"), flags.flag("chmod"), flags.flag_values("exclude"))
    assert (True, False, False) == (flags.has_flag("link"), flags.has_flag("parents"), flags.has_flag("nothing"))


def test_names_and_values_are_told_apart() -> None:
    assert (("a", "b=c"), ("d", "")) == only("ENV a=b=c d=").pairs()
    assert (("a", None), ("b", ""), ("c", "d=e")) == only("ARG a b= c=d=e").arguments()


STAGES = """\
# syntax=docker/dockerfile:1
# escape=`
# check=skip=all

ARG VERSION=3.13 OTHER
from --platform=$BUILDPLATFORM python:${VERSION} As Build
RUN a `
  && b
FROM scratch
FROM build
COPY --from=build /a /b
"""


def test_stages_hold_what_stands_between_their_from_lines() -> None:
    dockerfile = parse(STAGES, path="Dockerfile")
    assert (("syntax", "docker/dockerfile:1"), ("escape", "`"), ("check", "skip=all")) == dockerfile.directives
    assert "`" == dockerfile.escape
    assert [("VERSION", "3.13"), ("OTHER", None)] == [pair for one in dockerfile.global_args for pair in one.arguments()]
    assert [
        ("python:${VERSION}", "build", "$BUILDPLATFORM", 6, ["RUN"]),
        ("scratch", None, None, 9, []),
        ("build", None, None, 10, ["COPY"]),
    ] == [
        (one.base, one.name, one.platform, one.origin.line, [each.keyword for each in one.instructions])
        for one in dockerfile.stages
    ]
    (run,) = dockerfile.stages[0].instructions
    assert (("a   && b",), Origin(file="Dockerfile", line=7)) == (run.words, run.origin)


@pytest.mark.parametrize(
    ("text", "escape"),
    [
        ("\ufeff# escape=`\nFROM a", "`"),
        ("#EsCaPe = `  \nFROM a", "`"),
        ("  #  escape=`\r\nFROM a", "`"),
        ("# a comment\n# escape=`\nFROM a", "\\"),
        ("\n# escape=`\nFROM a", "\\"),
        ("# unknown=1\n# escape=`\nFROM a", "\\"),
        ("#!/usr/bin/env docker\n# escape=`\nFROM a", "\\"),
        ("FROM a\n# escape=`", "\\"),
    ],
)
def test_a_directive_counts_at_the_very_top(text: str, escape: str) -> None:
    assert escape == parse(text, path="Dockerfile").escape


REFUSED = [
    ("FROM a\nRNU x", "there is no instruction `RNU`", 2, "`RUN`"),
    ("FROM a\n\nfoo", "there is no instruction `foo`", 3, None),
    ("FROM a\nRUN a \\\n b\nUSR me", "there is no instruction `USR`", 4, "`USER`"),
    ("FROM a\nCOPY --chwon=a b c", "COPY has no flag `--chwon`", 2, "`--chown`"),
    ("FROM a\nCOPY --mount=a b c", "COPY has no flag `--mount`", 2, None),
    ("FROM a\nENV --x=y a=b", "ENV has no flag `--x`", 2, "it has no flags"),
    ("FROM a\nARG --x a", "ARG has no flag `--x`", 2, None),
    ("FROM a\nCOPY --from=a --from=b c d", "`--from` of COPY stands twice", 2, None),
    ("FROM a\nCOPY --from b c", "`--from` of COPY needs a value", 2, None),
    ("FROM a\nCOPY --link= b c", "`--link` of COPY needs a value", 2, None),
    ("FROM a\nCOPY --link=yes b c", "`--link` of COPY is `true` or `false`, not `yes`", 2, None),
    ("FROM a\nRUN --network=some x", "`--network` of RUN is `default` or `none` or `host`", 2, None),
    ("FROM a\nCOPY x", "needs a source and a destination", 2, None),
    ("FROM a\nCOPY", "needs a source and a destination", 2, None),
    ("FROM a\nADD x <<EOF\nEOF", "cannot be a heredoc", 2, None),
    ("FROM a\nRUN", "RUN needs a command", 2, None),
    ("FROM a\nRUN []", "RUN needs a command", 2, None),
    ("FROM a\nCMD", "CMD needs a command", 2, None),
    ('FROM a\nCMD ["a", 1]', "something other than strings", 2, None),
    ("FROM a\nENV", "ENV needs `name=value`", 2, None),
    ("FROM a\nENV a", "ENV gives `a` no value", 2, "`ENV a=…`"),
    ("FROM a\nENV a=b c d=e", "`c` of ENV is not `name=value`", 2, None),
    ("FROM a\nENV =b", "a name of ENV is empty", 2, None),
    ("FROM a\nARG =b", "a name of ARG is empty", 2, None),
    ("FROM a\nSHELL bash -c", "SHELL needs an array", 2, None),
    ("FROM a\nSHELL []", "SHELL needs an array", 2, None),
    ('FROM a\nVOLUME [" "]', "a path that is not empty", 2, None),
    ("FROM a\nHEALTHCHECK", "HEALTHCHECK needs", 2, None),
    ("FROM a\nHEALTHCHECK CMD", "HEALTHCHECK CMD needs a command", 2, None),
    ("FROM a\nHEALTHCHECK NONE x", "takes no arguments", 2, None),
    ("FROM a\nHEALTHCHECK CONNECT 80", "not `CONNECT`", 2, None),
    ("FROM a\nHEALTHCHECK --interval=5 CMD x", "is not a duration", 2, None),
    ("FROM a\nHEALTHCHECK --interval=5us CMD x", "less than a millisecond", 2, None),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD x", "is a number", 2, None),
    ("FROM a\nONBUILD", "ONBUILD needs an instruction", 2, None),
    ("FROM a\nONBUILD ONBUILD RUN x", "ONBUILD cannot be what ONBUILD keeps", 2, None),
    ("FROM a\nONBUILD FROM x", "FROM cannot be what ONBUILD keeps", 2, None),
    ("FROM a\nONBUILD RNU x", "there is no instruction `RNU`", 2, "`RUN`"),
    ("FROM", "FROM needs an image", 1, None),
    ("FROM a b", "FROM is an image", 1, None),
    ("FROM a AS", "FROM is an image", 1, None),
    ("FROM a AS 1st", "`1st` cannot be the name of a stage", 1, None),
    ("ENV a=b\nFROM a", "ENV stands before the first FROM", 1, None),
    ("ARG a", "there is no FROM", None, None),
    ("", "there is no FROM", None, None),
    ("# only\n# comments", "there is no FROM", None, None),
    ("# escape=x\nFROM a", "`x` cannot be the escape character", 1, None),
    ("# escape=`\n# escape=`\nFROM a", "`escape` stands twice", 2, None),
    ("# syntax=example/other:1\nFROM a", "another language", 1, None),
]


@pytest.mark.parametrize(("text", "message", "line", "hint"), REFUSED)
def test_what_is_wrong_is_refused_with_its_line(text: str, message: str, line: int | None, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, path="Dockerfile")
    assert message in caught.value.message
    assert (2, Origin(file="Dockerfile", line=line)) == (caught.value.exit_code, caught.value.origin)
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_a_trigger_of_another_image_is_read_alone() -> None:
    origin = Origin(file="Dockerfile", line=1)
    assert ("RUN", ("a  b",), origin) == tuple(
        getattr(parse_trigger("RUN a \\\n b", origin=origin), name) for name in ("keyword", "words", "origin")
    )
    for wrong in ("", "FROM a", "RNU a"):
        with pytest.raises(ConfigError) as caught:
            parse_trigger(wrong, origin=origin)
        assert origin == caught.value.origin


def test_where_a_line_is_broken_changes_nothing() -> None:
    whole = 'RUN --mount=type=cache,target=/c --network=none apt-get install -y a b && echo "x y" > /z'
    for _ in range(200):
        broken = "".join(
            f"\\{random.choice(['', ' ', chr(9)])}{random.choice(['', chr(13)])}\n{random.choice(['', '# c', '   #'])}\n{char}"
            if index > 5 and random.random() < 0.1
            else char
            for index, char in enumerate(whole)
        )
        read = only(broken)
        assert (only(whole).flags, only(whole).words) == (read.flags, read.words)


def test_whatever_stands_there_is_read_or_refused() -> None:
    pieces = [
        "FROM a\n",
        "RUN ",
        "COPY ",
        "ENV ",
        "<<E",
        "\nE\n",
        "\\\n",
        "\n",
        "#",
        "--from=",
        "[",
        '"',
        "]",
        ",",
        "'",
        "=",
        " ",
        "$",
        "`",
    ]
    for _ in range(3000):
        text = "FROM a\n" + "".join(random.choices(pieces, k=random.randrange(14)))
        with suppress(ConfigError):
            parse(text, path="Dockerfile")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("300ms", 300_000_000),
        ("0", 0),
        ("-1us", -1000),
    ],
)
def test_times_are_read_as_go_reads_them(text: str, expected: int) -> None:
    assert expected == nanoseconds(text)


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1d", "1m 2s", "9999999999h", "1e3s"])
def test_what_go_does_not_read_is_no_time(text: str) -> None:
    with pytest.raises(DurationError):
        nanoseconds(text)

"""Heredocs as BuildKit's parser finds them."""

from __future__ import annotations

import pytest

from launcher.errors import ConfigError
from launcher.plan.dockerfile.document import Heredoc, Instruction
from launcher.plan.dockerfile.logical_lines import heredoc_word
from launcher.plan.dockerfile.parse import parse, parse_trigger


def only(text: str) -> Instruction:
    """The one instruction of *text*."""
    (instruction,) = parse(f"FROM a\n{text}", path="Dockerfile").stages[0].instructions
    return instruction


CASES = [
    ("RUN <<EMPTY\nEMPTY", [("EMPTY", "", True, False)]),
    ("RUN 3<<FD\nFD", [("FD", "", True, False)]),
    ("RUN <<INDENT\n\tfoo\n\tbar\nINDENT", [("INDENT", "\tfoo\n\tbar\n", True, False)]),
    ("RUN <<-TABS\n\tfoo\n\t\tbar\n\tTABS", [("TABS", "\tfoo\n\t\tbar\n", True, True)]),
    ("RUN <<-'NO'\n\tdon't $X\nNO", [("NO", "\tdon't $X\n", False, True)]),
    ('RUN <<"NO"\n$X\nNO', [("NO", "$X\n", False, False)]),
    ("RUN <<C\n# a comment\necho a \\\n\necho b # c\nC", [("C", "# a comment\necho a \\\n\necho b # c\n", True, False)]),
    ("RUN --mount=type=cache,target=/foo <<M\necho\nM", [("M", "echo\n", True, False)]),
    ("COPY <<ONE <<TWO /dest\n1\nONE\n2\nTWO", [("ONE", "1\n", True, False), ("TWO", "2\n", True, False)]),
    ("COPY <<X <<Y /dest\nY\nX\nX\nY", [("X", "Y\n", True, False), ("Y", "X\n", True, False)]),
    ("RUN <<EOF python3\nprint('a')\nEOF", [("EOF", "print('a')\n", True, False)]),
    ("ADD <<file.txt /dest\nhello\nfile.txt", [("file.txt", "hello\n", True, False)]),
    ("RUN <<eo'f'\na\neof", [("eof", "a\n", False, False)]),
    ("RUN <<eo\\'f\na\neo'f", [("eo'f", "a\n", True, False)]),
    ("RUN <<'e'o\\'f\na\neo'f", [("eo'f", "a\n", False, False)]),
    ("RUN <<'one two'\na\none two", [("one two", "a\n", False, False)]),
    ("RUN <<$EOF\n$EOF", [("$EOF", "", True, False)]),
    ("RUN <<  EOF  > foo\nEOF", [("EOF", "", True, False)]),
    ("RUN a && \\\n  b <<EOF\nc\nEOF", [("EOF", "c\n", True, False)]),
    ("RUN <<EOF\r\na\r\nEOF\r", [("EOF", "a\r\n", True, False)]),
    ("ONBUILD RUN <<EOF\na\nEOF", [("EOF", "a\n", True, False)]),
    ('RUN "<<NO"', []),
    ('RUN ["<<EOF"]', []),
    ("RUN cat <<<word", []),
    ("USER <<NO", []),
    ("RUN echo $((1<<2))", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_heredocs_of_an_instruction(text: str, expected: list[tuple[str, str, bool, bool]]) -> None:
    assert tuple(Heredoc(*each) for each in expected) == only(text).heredocs


@pytest.mark.parametrize("word", ["<<EOF", "<<'EOF'", '<<"EOF"', "<<-EOF", '<<EO"F"', "<< EOF", "<<- EOF", "7<<EOF"])
def test_words_that_begin_one(word: str) -> None:
    found = heredoc_word(word)
    assert found is not None
    assert "EOF" == found.name


@pytest.mark.parametrize("word", ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "<<'EOF", 'a<<EOF"'])
def test_words_that_begin_none(word: str) -> None:
    assert heredoc_word(word) is None


def test_what_follows_a_heredoc_is_the_next_instruction() -> None:
    (stage,) = parse("FROM a\nRUN <<EOF\n# b\n\nEOF\nUSER me", path="D").stages
    assert [("RUN", 2), ("USER", 6)] == [(one.keyword, one.origin.line) for one in stage.instructions]


def test_tabs_count_only_where_they_were_not_taken_back() -> None:
    assert "a\nb\t\n" == Heredoc("X", "\ta\n\t\tb\t\n", expand=True, chomp=True).text
    assert "\ta\n" == Heredoc("X", "\ta\n", expand=True, chomp=False).text


def test_a_heredoc_without_an_end_is_refused_where_it_begins() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("FROM a\nRUN a\nRUN <<EOF\na\n EOF\n", path="Dockerfile")
    assert ("the heredoc `<<EOF` does not end", "Dockerfile:3") == (caught.value.message, str(caught.value.origin))


def test_a_trigger_keeps_its_heredoc_and_is_read_from_it_again() -> None:
    trigger = only("ONBUILD COPY <<-A /a\n\tone\nA\n")
    assert ("COPY <<-A /a\n\tone\nA",) == trigger.words
    again = parse_trigger(trigger.words[0], origin=trigger.origin)
    assert ("COPY", ("<<-A", "/a"), "one\n") == (again.keyword, again.words, again.heredocs[0].text)
    assert trigger.origin == again.origin

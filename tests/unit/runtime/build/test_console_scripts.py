"""Entry points become Python source and file names: only plain ones may."""

from __future__ import annotations

import pytest

from runtime.build.wheels.console_scripts import entry_point_scripts, with_our_interpreter
from runtime.errors import BadContent


def scripts(text: str) -> dict[str, str]:
    return dict(entry_point_scripts(text, wheel="demo.whl", prefix="/opt/venv"))


def test_console_and_gui_scripts_are_made_and_plugins_are_not() -> None:
    text = "[console_scripts]\na = m:f\n; a comment\n[gui_scripts]\nb=m.n : C.run\n[plugins]\nc = m:f\n"
    assert ["a", "b"] == list(scripts(text))


def test_a_script_imports_the_first_part_and_calls_the_whole() -> None:
    script = scripts("[console_scripts]\nb = m.n:C.run [extra]\n")["b"]
    assert "from m.n import C\n" in script
    assert "sys.exit(C.run())" in script
    compile(script, "b", "exec")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("../../usr/bin/env = m:f", id="leaves bin"),
        pytest.param(".. = m:f", id="dots"),
        pytest.param("a = m:f; import os", id="more code"),
        pytest.param("a = m", id="no function"),
        pytest.param("a = m:f()\n", id="call"),
    ],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(BadContent, match=r"demo\.whl"):
        scripts(f"[console_scripts]\n{line}\n")


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"#!python\n", b"#!/opt/venv/bin/python3\n"),
        (b"#!pythonw -O\r\n", b"#!/opt/venv/bin/python3 -O\r\n"),
        (b"#!/usr/bin/python3\n", b"#!/usr/bin/python3\n"),
        (b"\x7fELF", b"\x7fELF"),
    ],
)
def test_only_the_marker_line_is_replaced(first: bytes, expected: bytes) -> None:
    assert expected + b"rest" == with_our_interpreter(first + b"rest", prefix="/opt/venv")

"""What is said of a source distribution that doesn't build."""

from __future__ import annotations

import pytest

from runtime.build.plan import InstallTree, InstallWheel
from runtime.build.wheels.build_failure import build_error, missing_of
from runtime.oci.digest import digest_json

STEP = InstallWheel(
    "httptools", "0.6.1", "0" * 64, "httptools-0.6.1.tar.gz", interpreter=digest_json(1), python="3.13", prefix="/v"
)


def test_a_python_that_has_a_wheel_is_named_first() -> None:
    error = build_error(STEP, "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "bookworm's 3.11")
    assert (
        "no wheel of httptools 0.6.1 for Python 3.13 (bookworm's 3.11 has one), and its source `httptools-0.6.1.tar.gz` "
        "doesn't build:" == error.message.splitlines()[0]
    )
    assert (
        "`image.python=3.11` takes a base for which there is a wheel; or else it needs a compiler: "
        "`image.apt: [build-essential, python3-dev]`" == error.hint
    )


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param("error: command 'gcc' failed: No such file or directory", "build-essential", id="no gcc"),
        pytest.param("error: [Errno 2] No such file or directory: 'gcc'", "build-essential", id="no gcc, in Python's words"),
        pytest.param("/bin/sh: 1: make: not found", "build-essential", id="no make"),
        pytest.param("No CMAKE_CXX_COMPILER could be found.", "build-essential", id="cmake without a compiler"),
        pytest.param("x.c:1:10: fatal error: Python.h: No such file or directory", "[python3-dev]", id="no headers of Python"),
        pytest.param("x.c:1:10: fatal error: zmq.h: No such file or directory", "`zmq.h`", id="no header"),
        pytest.param("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "image.apt: [cmake]", id="no cmake"),
        pytest.param("error: can't find Rust compiler", "[cargo]", id="no Rust"),
        pytest.param(
            "x.c:7:3: error: 'tp_print' was not declared\nerror: command 'gcc' failed with exit code 1", None, id="gcc ran"
        ),
        pytest.param("ModuleNotFoundError: No module named 'numpy'", None, id="something else"),
    ],
)
def test_a_compiler_is_asked_for_only_where_none_ran(words: str, hint: str | None) -> None:
    said = missing_of(words)
    assert said is None if hint is None else hint in (said or "")


def test_a_tree_that_does_not_build_has_no_wheel_elsewhere_but_sees_too_little() -> None:
    step = InstallTree("mine", "", "0" * 64, "mine", "cpython-test", "3.13", directory="libs/mine", target="/workspace/libs/mine")
    error = build_error(step, "ModuleNotFoundError: No module named 'mine.sub'", None)
    assert error.message.startswith("`mine from libs/mine (editable)` doesn't build:\nModuleNotFoundError")
    assert "`.` sees all" in (error.hint or "")

"""How a script's first line is read: as the kernel reads it, since the kernel is not asked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.container.exec_file import open_program


def script(directory: Path, content: bytes, name: str = "script", mode: int = 0o755) -> Path:
    path = directory / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(path: Path) -> int | None:
    """The number that `open_program` fails with."""
    try:
        open_program(str(path), ["x"])
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize(
    "line",
    [
        b"#!/bin/echo\n",
        b"#! /bin/echo  \n",
        b"#!\t/bin/echo\tone two\t three \n",
        b"#!/bin/echo -n",
        b"#!/bin/echo " + b"x" * 300 + b"\n",
    ],
)
def test_arguments_are_those_that_the_kernel_would_pass(tmp_path: Path, line: bytes) -> None:
    path = script(tmp_path, line)
    opened = open_program(str(path), ["shown", "a", "b"])
    expected = subprocess.run([path, "a", "b"], capture_output=True, check=True).stdout
    ours = subprocess.run([b"/bin/echo", *opened.argv[1:]], capture_output=True, check=True).stdout
    assert expected == ours
    os.close(opened.file)


def test_a_script_s_interpreter_may_be_a_script(tmp_path: Path) -> None:
    inner = script(tmp_path, b"#!/bin/echo inner\n", "inner")
    outer = script(tmp_path, f"#!{inner} outer\n".encode(), "outer")
    opened = open_program(str(outer), ["shown", "x"])
    assert [b"/bin/echo", b"inner", os.fsencode(inner), b"outer", os.fsencode(outer), b"x"] == list(opened.argv)
    os.close(opened.file)


@pytest.mark.parametrize(
    ("content", "mode", "number"),
    [
        (b"#!\n", 0o755, errno.ENOEXEC),
        (b"#!  \n", 0o755, errno.ENOEXEC),
        (b"#!" + b"x" * 300, 0o755, errno.ENOEXEC),
        (b"#!/no/such/interpreter\n", 0o755, errno.ENOENT),
        (b"#!/bin/sh\n", 0o644, errno.EACCES),
        (b"#!/proc/self/exe\n", 0o755, errno.ELOOP),
        (b"#!/proc/self/root/bin/sh\n", 0o755, errno.ELOOP),
    ],
)
def test_what_cannot_run_fails_with_the_kernel_s_number(tmp_path: Path, content: bytes, mode: int, number: int) -> None:
    path = script(tmp_path, content, mode=mode)
    assert number == refused(path)


def test_a_script_without_end_is_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "script"
    script(tmp_path, f"#!{path}\n".encode())
    assert errno.ELOOP == refused(path)


def test_a_program_is_called_by_its_name(tmp_path: Path) -> None:
    """Not by the number of a descriptor, which it is executed through."""
    code = "from runtime.container.exec_file import exec_file; exec_file('/bin/cat', ['cat', '/proc/self/comm'], {})"
    assert b"cat\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_what_became_a_script_in_the_meantime_is_not_executed(tmp_path: Path) -> None:
    """The race that CVE-2019-5736 would need: between our look at the file and the kernel's."""
    path = script(tmp_path, Path("/bin/true").read_bytes())
    code = f"""
from pathlib import Path
from runtime.container.exec_file import open_program
opened = open_program({str(path)!r}, ["x"])
Path({str(path)!r}).write_bytes(b"#!/proc/self/exe\\n")
try:
    opened.execute({{}})
except FileNotFoundError:
    print("refused")
"""
    assert b"refused\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

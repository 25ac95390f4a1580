"""SONAMEs are read from the file, without a program."""

from __future__ import annotations

from pathlib import Path

import gpu_box_libraries
import pytest

from runtime.gpu.elf import read_soname


@pytest.mark.requires("cc")
def test_soname_is_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "lib").write_bytes(gpu_box_libraries.stub("libexample.so.7"))
    assert "libexample.so.7" == read_soname(tmp_path / "lib")


def test_what_is_no_library_has_no_soname(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert read_soname(tmp_path / "script") is None

"""Which directories an overlay is made of."""

from __future__ import annotations

from pathlib import Path

from runtime.rootfs.overlay import _topmost_of_each


def test_a_layer_that_comes_twice_is_stacked_once_where_it_is_topmost():
    base, venv, code = Path("base"), Path("venv"), Path("code")
    assert [base, code, venv] == _topmost_of_each([base, venv, code, venv])

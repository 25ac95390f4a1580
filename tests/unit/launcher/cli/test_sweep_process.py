"""The process of a sweep, which is forked from its command."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.sweep.own_process import Begun, start_process
from launcher.errors import ConfigError
from runtime.state_dir import StateDir


def test_a_sweep_that_is_refused_before_it_has_begun_ends_its_command_with_the_refusals_code(tmp_path: Path) -> None:
    def refuse(begun: Begun) -> int:
        raise ConfigError("somebody runs it already")

    with pytest.raises(SystemExit) as ended:
        start_process(refuse, StateDir(tmp_path), debug=False)
    assert ConfigError.exit_code == ended.value.code

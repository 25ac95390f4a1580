"""Pure parts of init."""

from __future__ import annotations

from runtime.container.init import as_exit, rank_variables
from runtime.container.spec import ProcessExit


def test_ranks_get_what_torch_reads() -> None:
    expected = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}
    assert {**expected, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"} == rank_variables(1, 4, 29500)


def test_a_wait_status_is_a_code_or_a_signal() -> None:
    assert ProcessExit(3, None) == as_exit(3 << 8)
    assert ProcessExit(None, 9) == as_exit(9)
    assert ProcessExit(None, 11) == as_exit(11 | 0x80)  # with a core dump

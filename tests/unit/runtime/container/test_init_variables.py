"""Pure parts of init."""

from __future__ import annotations

from runtime.container.init import as_exit
from runtime.container.rank_tasks import rank_variables
from runtime.container.spec import ProcessExit, World


def test_ranks_get_what_torch_reads() -> None:
    expected = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}
    found = rank_variables(1, 4, World("127.0.0.1", 29500, 0, 4))
    assert {**expected, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"} == found


def test_ranks_of_a_second_machine_are_counted_on() -> None:
    found = rank_variables(1, 4, World("10.0.0.1", 29500, 4, 8))
    assert ("5", "1", "8", "4") == tuple(found[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))


def test_a_wait_status_is_a_code_or_a_signal() -> None:
    assert ProcessExit(3, None) == as_exit(3 << 8)
    assert ProcessExit(None, 9) == as_exit(9)
    assert ProcessExit(None, 11) == as_exit(11 | 0x80)  # with a core dump

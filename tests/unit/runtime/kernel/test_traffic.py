"""Traffic of a network namespace, as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

from runtime.kernel.process_table import Traffic, read_traffic

HEAD = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""
LOOPBACK = "    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n"
LINK = "  eth0:70000000 100 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"


def read(tmp_path: Path, content: str) -> Traffic | None:
    (tmp_path / "7/net").mkdir(parents=True)
    (tmp_path / "7/net/dev").write_text(HEAD + content)
    return read_traffic(7, proc=tmp_path)


def test_links_that_lead_out_are_summed(tmp_path: Path) -> None:
    assert Traffic(140_000_000, 4_000) == read(tmp_path, LOOPBACK + LINK + LINK.replace("eth0", "eth1"))


def test_without_a_link_there_is_no_traffic_to_tell(tmp_path: Path) -> None:
    assert read(tmp_path, LOOPBACK) is None


def test_a_process_that_has_ended_tells_nothing(tmp_path: Path) -> None:
    assert read_traffic(7, proc=tmp_path) is None

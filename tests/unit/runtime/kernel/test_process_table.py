"""The tree below a process, out of /proc as the kernel writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runtime.kernel.process_table import io_bytes, tree_below


def test_a_process_and_its_descendants_parents_first() -> None:
    program = "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); child.wait()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        found = tree_below(parent.pid)
        while found[-1].command != "sleep 60":  # it is about to be that
            found = tree_below(parent.pid)
        assert [parent.pid, child] == [one.pid for one in found]
        assert found[1].parent == parent.pid
        assert (found[1].uid, found[1].threads) == (os.geteuid(), 1)
        assert found[0].memory_bytes > 1 << 20
    finally:
        os.kill(child, 9)
        parent.wait()
        parent.stdout.close()


def test_nobody_below_a_process_that_is_gone() -> None:
    assert [] == tree_below(2**22 + 1)


def test_a_name_with_everything_in_it(tmp_path: Path) -> None:
    directory = tmp_path / "7"
    directory.mkdir()
    fields = ["S", "1", *["0"] * 9, "150", "50", *["0"] * 4, "3", *["0"] * 3, "10"]
    (directory / "stat").write_text(f"7 (a) b (c) {' '.join(fields)}")
    (directory / "status").write_text("Name:\ta) b (c\nUid:\t5\t6\t7\t8\nNSpid:\t7\t2\n")
    (directory / "cmdline").write_bytes(b"")
    (one,) = tree_below(7, proc=tmp_path)
    assert (one.pid_inside, one.uid, one.state, one.threads, one.command) == (2, 6, "S", 3, "[a) b (c]")
    assert one.cpu_s == 200 / os.sysconf("SC_CLK_TCK")


def test_what_a_process_and_its_ended_children_wrote_to_disk_is_counted(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/io").write_text("rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n")
    assert (4096, 8192) == io_bytes(7, proc=tmp_path)
    assert io_bytes(8, proc=tmp_path) is None

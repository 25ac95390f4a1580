"""Containers to work in that have ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.run.dev_containers import forget
from runtime.state_dir import StateDir


def test_all_who_see_the_end_of_one_forget_it_together(tmp_path: Path) -> None:
    """Whoever is in it, and whoever stops it."""
    run_dir = StateDir(tmp_path).ensure().run("dev-1a2b3c")
    for number in range(3000):
        (run_dir.root / f"overlay/{number % 30}").mkdir(parents=True, exist_ok=True)
        (run_dir.root / f"overlay/{number % 30}/{number}").touch()
    with ThreadPoolExecutor(4) as together:
        assert [False] * 4 == list(together.map(forget, [run_dir] * 4))
    assert not run_dir.root.exists()

"""Which caches count, and may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.store.gc import cache_entries
from runtime.file_lock import locked
from runtime.store.garbage import Rules, collect
from runtime.store.store import Store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for name in ("compiled/a.json", "debian/x/index", "locks/answer.json", "bases/b.json", "shared/hf/model", "build-mounts/c/f"):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True)
        path.write_text("12345")
    (tmp_path / "cache/build-mounts/c.lock").touch()
    return tmp_path / "cache"


def names(cache: Path) -> list[str]:
    return [str(entry.path.relative_to(cache)) for entry in cache_entries(cache)]


def test_what_was_pinned_and_what_experiments_keep_is_not_among_them(cache: Path) -> None:
    assert ["build-mounts/c", "compiled/a.json", "debian/x/index"] == names(cache)
    assert {5} == {entry.thing.size_bytes for entry in cache_entries(cache)}


def test_a_cache_that_a_build_has_mounted_stays(cache: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    with locked(cache / "build-mounts/c.lock", shared=True):
        collect(store, Rules(max_bytes=0), caches=cache_entries(cache))
        assert ["build-mounts/c"] == names(cache)
    collect(store, Rules(max_bytes=0), caches=cache_entries(cache))
    assert [] == names(cache)
    assert (cache / "build-mounts/c.lock").exists()


def test_no_cache_at_all_has_no_entries(tmp_path: Path) -> None:
    assert [] == cache_entries(tmp_path / "nowhere")

"""The loader's cache as we read and write it, judged by this machine's own ldconfig and its own cache."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.errors import BadContent
from runtime.kernel.ld_cache import CachedLibrary, compare_names, read_cache, with_libraries, write_cache

OWN = Path("/etc/ld.so.cache")
DRIVER = CachedLibrary("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1")
has_own = pytest.mark.skipif(not OWN.exists(), reason="this machine's loader has no cache")


def listed(cache: Path) -> list[str]:
    words = ["/sbin/ldconfig", "-p", "-C", str(cache)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.strip() for line in lines if line.startswith("\t")]


@has_own
def test_what_is_added_is_listed_by_ldconfig_beside_all_that_was_there(tmp_path: Path) -> None:
    added = tmp_path / "cache"
    added.write_bytes(with_libraries(OWN.read_bytes(), [DRIVER]))
    before, after = listed(OWN), listed(added)
    assert [line for line in after if "/usr/local/nvidia" not in line] == before
    assert ["libcuda.so.1 (libc6,x86-64) => /usr/local/nvidia/lib64/libcuda.so.1"] == [
        line for line in after if "/usr/local/nvidia" in line
    ]


@has_own
def test_a_cache_that_is_read_and_written_says_the_same() -> None:
    libraries = read_cache(OWN.read_bytes())
    assert libraries == read_cache(write_cache(libraries))


def test_of_two_libraries_of_one_name_the_added_one_is_found_first() -> None:
    old = CachedLibrary("libcuda.so.1", "/usr/lib/libcuda.so.1")
    cache = with_libraries(with_libraries(b"", [old]), [DRIVER])
    assert [DRIVER.path, old.path] == [one.path for one in read_cache(cache)]


def test_variants_for_newer_cpus_keep_their_directory() -> None:
    fast = CachedLibrary("libm.so.6", "/lib/glibc-hwcaps/x86-64-v3/libm.so.6", subdirectory="x86-64-v3")
    assert fast in read_cache(with_libraries(write_cache([fast]), [DRIVER]))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("libc.so.6", "libc.so.10"), ("liba.so", "libb.so"), ("lib.so", "lib.so.1"), ("liba.so", "lib2.so")],
    ids=["digits are numbers", "letters", "a longer name", "digits come after letters"],
)
def test_names_are_ordered_as_the_loader_searches_them(lower: str, higher: str) -> None:
    assert compare_names(lower, higher) < 0 < compare_names(higher, lower)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"glibc-ld.so.cache1.1" + b"\xff" * 28, b"glibc-ld.so.cache1.1"],
    ids=["empty", "something else", "too many entries", "cut off"],
)
def test_what_is_no_cache_is_refused(content: bytes) -> None:
    with pytest.raises(BadContent):
        read_cache(content)

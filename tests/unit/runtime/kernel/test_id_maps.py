"""Which ids a container gets, decided from texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.kernel import id_maps
from runtime.kernel.id_maps import RANGE_BASE, Extent, IdMap, IdMapKind, IdMaps

WHOLE = IdMap((Extent(0, 0, 4_294_967_295),))


def test_the_initial_namespace_has_room_for_our_range() -> None:
    assert Extent(0, RANGE_BASE, 65536) == id_maps.unprivileged_range(WHOLE, None)


def test_root_s_line_in_subuid_comes_first() -> None:
    assert Extent(0, 500_000, 65536) == id_maps.unprivileged_range(WHOLE, Extent(1, 500_000, 65536))


def test_inside_another_container_the_end_of_its_range_is_taken() -> None:
    assert Extent(0, 134_464, 65536) == id_maps.unprivileged_range(IdMap((Extent(0, 100_000, 200_000),)), None)


@pytest.mark.parametrize("count", [1, 65536], ids=["one id", "an ordinary container's range"])
def test_without_room_there_is_no_range(count: int) -> None:
    assert id_maps.unprivileged_range(IdMap((Extent(0, 100_000, count),)), None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("alice:100000:65536\n", Extent(1, 100_000, 65536), id="by name"),
        pytest.param("1000:200000:1000\n", Extent(1, 200_000, 1000), id="by number"),
        pytest.param("bob:1:2\nalice:100000:99999999\n", Extent(1, 100_000, 65536), id="cut to what we use"),
        pytest.param("alice:x:y\nalice:3:0\n", None, id="nonsense"),
        pytest.param("", None, id="empty"),
    ],
)
def test_subuid_is_read_as_shadow_reads_it(text: str, expected: Extent | None) -> None:
    assert expected == id_maps.sub_ids(text, names=("alice", "1000"))


@pytest.mark.parametrize("owner", [0, 1, 1000, 65534, 65535, 70_000])
def test_a_mount_s_owner_becomes_root_and_no_two_ids_meet(owner: int) -> None:
    map_ = id_maps.owner_first(owner, 200_000)
    assert 200_000 == map_.outside(owner)
    outsides = [map_.outside(disk) for disk in (*range(65536), 70_000)]
    known = [outside for outside in outsides if outside is not None]
    assert len(known) == len(set(known))
    assert all(200_000 <= outside < 265_536 for outside in known)


@pytest.mark.parametrize("inside", [1, 1000, 65535])
@pytest.mark.parametrize("owner", [0, 1, 1000, 65535, 70_000])
def test_a_mount_s_owner_becomes_another_user_and_no_two_ids_meet(owner: int, inside: int) -> None:
    map_ = id_maps.owner_first(owner, 200_000, inside)
    assert 200_000 + inside == map_.outside(owner)
    outsides = [map_.outside(disk) for disk in (*range(65536), 70_000)]
    known = [outside for outside in outsides if outside is not None]
    assert len(known) == len(set(known)) == 65536
    assert all(200_000 <= outside < 265_536 for outside in known)


def test_the_writable_directory_s_map_changes_places() -> None:
    swapped = id_maps.swap_map(200_000)
    assert 200_005 == swapped.outside(5)
    assert 5 == swapped.outside(200_005)


def test_a_host_process_chowns_only_to_the_ids_of_a_range() -> None:
    ranged = id_maps.ranged(Extent(0, RANGE_BASE, 65536), Extent(0, RANGE_BASE, 65536))
    assert (RANGE_BASE + 33, RANGE_BASE + 8) == ranged.process_owner(33, 8)
    own = IdMap((Extent(0, 1000, 1), Extent(1, 100_000, 65536)))
    assert IdMaps(IdMapKind.SUBIDS, own, own).process_owner(0, 0) is None


def test_a_map_reads_back_as_it_was_written() -> None:
    assert id_maps.swap_map(5_000_000) == id_maps.parse_map(id_maps.swap_map(5_000_000).text)


def test_an_allowed_kind_that_is_not_possible_falls_to_one_id(tmp_path: Path) -> None:
    assert IdMapKind.SINGLE is id_maps.choose(kinds=(IdMapKind.SINGLE,), etc=tmp_path).kind


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        pytest.param(100_000, "alice", id="the first of a range"),
        pytest.param(165_535, "alice", id="the last"),
        pytest.param(165_536, "bob", id="the next one's"),
        pytest.param(99_999, None, id="nobody's"),
    ],
)
def test_an_id_of_a_range_has_an_owner(uid: int, expected: str | None) -> None:
    text = "# ranges\nalice:100000:65536\nbob:165536:65536\n"
    assert expected == id_maps.owner_of_sub_id(text, uid)

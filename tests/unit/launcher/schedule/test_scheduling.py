"""Who is next: in order, by priority, beside those who wait, and nobody for ever."""

from __future__ import annotations

import random

import pytest
from boxes import box, connected, free, held, in_parts, letters

from launcher.schedule.device import Device
from launcher.schedule.device_request import DeviceRequest, QueuedRun
from launcher.schedule.foreign_use import ForeignUse
from launcher.schedule.scheduling import QueueDecision, decide
from runtime.gpu.leases.lease import SLOTS, Holder
from runtime.gpu.topology import Topology
from runtime.light_dataclasses import replace

NOW = 1_000.0
EIGHT = "abcdefgh"


def entry(number: int, count: int = 1, offers: str = EIGHT, **more: object) -> QueuedRun:
    wants = {name: more.pop(name) for name in ("slots", "linked") if name in more}
    return QueuedRun(DeviceRequest(tuple(offers), count, **wants), run=f"run{number}", number=number, **more)  # type: ignore[arg-type]


def of(mine: QueuedRun, *others: QueuedRun, there: dict[str, Device], topology: Topology | None = None) -> QueueDecision:
    return decide(mine, others, there, topology or Topology(), now=NOW)


def eight(busy: str = "", *, until: float | None = None) -> dict[str, Device]:
    return box(*(held(uuid, until=until) if uuid in busy else free(uuid) for uuid in EIGHT))


def test_alone_it_is_its_turn() -> None:
    found = of(entry(1, 2), there=eight())
    assert (letters(found.uuids), found.place, found.of) == ("ab", 1, 1)


def test_the_later_gets_what_the_earlier_leaves() -> None:
    assert letters(of(entry(2), entry(1), there=eight("abcdef")).uuids) == "h"


def test_the_later_waits_when_the_earlier_takes_the_last() -> None:
    found = of(entry(2), entry(1), there=eight("abcdefg"))
    assert (found.uuids, found.place, found.of) == (None, 2, 2)


def test_a_higher_priority_goes_first_however_late() -> None:
    urgent = entry(9, priority=5)
    assert letters(of(urgent, entry(1), there=eight("abcdefg")).uuids) == "h"
    assert of(entry(1), urgent, there=eight("abcdefg")).uuids is None


def test_small_ones_do_not_pass_one_that_waits_for_all() -> None:
    found = of(entry(2), entry(1, 8), there=eight("abc"))
    assert found.uuids is None
    assert {"run1"} == set(found.kept.values())
    assert found.free == tuple("defgh")


def test_small_ones_use_what_is_not_kept() -> None:
    """Four are wanted and three free: those and one that is taken are kept, so nothing is left; of five free ones one is."""
    assert of(entry(2), entry(1, 4), there=eight("abcde")).uuids is None
    four_of_h100 = entry(1, 4, offers="abcd")
    assert letters(of(entry(2), four_of_h100, there=eight("ab")).uuids) == "e"


def test_the_second_in_line_keeps_too() -> None:
    first, second = entry(1, 2, offers="ab"), entry(2, 2, offers="cd")
    assert of(entry(3, offers="bd"), first, second, there=eight("ac")).uuids is None
    assert letters(of(entry(3, offers="bde"), first, second, there=eight("ac")).uuids) == "e"


def test_a_run_with_a_timeout_uses_what_is_kept_and_delays_nobody() -> None:
    big, there = entry(1, 8), eight("abc", until=NOW + 600)
    assert letters(of(entry(2, lasts_s=599), big, there=there).uuids) == "d"
    assert of(entry(2, lasts_s=601), big, there=there).uuids is None
    assert of(entry(2), big, there=there).uuids is None


def test_nobody_knows_when_a_run_without_a_timeout_ends() -> None:
    there = eight("ab", until=NOW + 600) | box(held("c"))
    assert of(entry(2, lasts_s=1), entry(1, 8), there=there).uuids is None


def test_the_group_that_is_free_first_is_kept() -> None:
    """NVLink pairs: of `ab` one is free, of `cd` none. `b` is kept, `c` is not."""
    there = box(held("a"), free("b"), held("c"), held("d"))
    pairs = connected("ab", "cd")
    linked = entry(1, 2, offers="abcd", linked=True)
    assert of(entry(2, offers="b"), linked, there=there, topology=pairs).uuids is None
    there = box(held("a"), free("b"), free("c"), held("d", until=NOW + 5))
    assert letters(of(entry(2, offers="b"), linked, there=there, topology=pairs).uuids) == "b"
    assert of(entry(2, offers="c"), linked, there=there, topology=pairs).uuids is None


def test_nothing_is_kept_for_one_that_waits_for_a_stranger() -> None:
    """It may be there for weeks; who needs that device doesn't hold up the others. Who can do without gets its devices kept."""
    all_eight = entry(1, 8)
    there = eight("b") | box(free("a", foreign=ForeignUse("pid 4411 `python` of bob, outside launch")))
    assert of(all_eight, there=there).uuids is None
    assert letters(of(entry(2), all_eight, there=there).uuids) == "c"
    assert of(entry(2), entry(1, 7), there=there).uuids is None


def test_what_a_killed_run_leaves_is_waited_for() -> None:
    there = eight("b") | box(free("a", foreign=ForeignUse("pid 7, which has ended", leaving=True)))
    assert of(entry(2), entry(1, 8), there=there).uuids is None


def test_parts_of_one_gpu_go_to_two() -> None:
    half = {"slots": SLOTS // 2}
    there = box(free("a"))
    assert letters(of(entry(2, offers="a", **half), entry(1, offers="a", **half), there=there).uuids) == "a"
    third = of(entry(3, offers="a", **half), entry(1, offers="a", **half), entry(2, offers="a", **half), there=there)
    assert third.uuids is None


def test_a_whole_one_is_not_passed_by_parts() -> None:
    """`a` has a part free; who wants all of it gets it when the other part ends, and no third part comes in between."""
    assert of(entry(2, offers="a", slots=5), entry(1, offers="a"), there=box(in_parts("a", 10))).uuids is None


@pytest.mark.parametrize("seed", range(20))
def test_everybody_comes_to_the_same_conclusion(seed: int) -> None:
    """What each of twelve waiters takes, each looking by itself, is disjoint."""
    chance = random.Random(seed)
    there = eight("".join(chance.sample(EIGHT, chance.randrange(8))))
    line = [entry(number, chance.randint(1, 4), priority=chance.randrange(2)) for number in range(12)]
    taken = [found for mine in line for found in of(mine, *(one for one in line if one is not mine), there=there).uuids or ()]
    assert len(taken) == len(set(taken))
    assert all(there[uuid].is_free() for uuid in taken)


@pytest.mark.parametrize("seed", range(10))
def test_a_big_run_starts_though_small_ones_never_stop_coming(seed: int) -> None:
    """Each round a random run ends and three small ones come: the one that wants all eight starts within a bounded time."""
    chance = random.Random(seed)
    there, big = eight(EIGHT), entry(100, 8)
    ends = {uuid: chance.randint(1, 20) for uuid in EIGHT}
    line: list[QueuedRun] = [big]
    for moment in range(60):
        for uuid in [uuid for uuid, end in ends.items() if end <= moment]:
            there[uuid], _ = free(uuid), ends.pop(uuid)
        line += [entry(200 + 3 * moment + number, lasts_s=chance.choice([None, 5.0])) for number in range(3)]
        for mine in sorted(line, key=lambda one: one.order):
            found = decide(mine, [one for one in line if one is not mine], there, Topology(), now=float(moment))
            if found.uuids is None:
                continue
            if mine is big:
                assert moment <= 25
                return
            line.remove(mine)
            for uuid in found.uuids:
                ends[uuid] = moment + (5 if mine.lasts_s else chance.randint(1, 20))
                there[uuid] = replace(
                    free(uuid), free_slots=0, holders=(Holder(until=moment + mine.lasts_s if mine.lasts_s else None),)
                )
    pytest.fail("the big run never started")

"""Work by several threads, with results in order."""

from __future__ import annotations

import threading

import pytest

from runtime.layer.in_order import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    assert [2 * number for number in range(1000)] == list(in_order(lambda number: 2 * number, range(1000)))


def test_a_few_small_items_are_worked_on_without_threads() -> None:
    assert {threading.current_thread()} == set(in_order(lambda _: threading.current_thread(), range(200)))
    assert threading.current_thread() not in set(in_order(lambda _: threading.current_thread(), range(2), size_bytes=1 << 30))


def test_an_error_is_raised_in_its_place_and_ends_the_work() -> None:
    begun = set()

    def work(number: int) -> int:
        begun.add(number)
        if number == 40:
            raise ValueError("40")
        return number

    results = in_order(work, range(100_000))
    assert list(range(32)) == [next(results) for _ in range(32)]
    with pytest.raises(ValueError, match="40"):
        list(results)
    assert len(begun) < 100_000


def test_no_more_is_begun_than_a_little_ahead_of_what_is_taken() -> None:
    """Results may be the contents of files: all of a large layer's would not fit."""
    begun = set()
    results = in_order(begun.add, range(100_000))
    next(results)
    assert len(begun) < 100_000 // 10
    results.close()  # type: ignore[attr-defined]

"""Work on the files of a layer by several threads, with the results in order: reading, hashing and copying leave the interpreter
lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MANY = 256
_LARGE_BYTES = 32 << 20
"""Fewer and smaller files are done before the threads are there: importing them takes 30 ms."""
_BATCH = 16
_AHEAD = 4
"""Batches of each thread that may be begun or done before their results are taken: these may be contents of files."""


def in_order(work: Callable[[_Item], _Result], items: Sequence[_Item], *, size_bytes: int = 0) -> Iterator[_Result]:
    """What *work* gives for each of *items*, which are about *size_bytes* large, in their order; the first error is raised in its
    place, and nothing more is begun then."""
    if len(items) < _MANY and size_bytes < _LARGE_BYTES:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    threads = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="layer-files")
    begun: deque[Future[list[_Result]]] = deque()
    try:
        for start in range(0, len(items), _BATCH):
            begun.append(pool.submit(lambda batch: [work(item) for item in batch], items[start : start + _BATCH]))
            if len(begun) > _AHEAD * threads:
                yield from begun.popleft().result()
        for batch in begun:
            yield from batch.result()
    finally:
        pool.shutdown(cancel_futures=True)

"""`launch gc`: remove what nothing needs any more. The same as `launch store gc`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    from launcher.cli.store.gc import collect_garbage

    return collect_garbage("gc", arguments)

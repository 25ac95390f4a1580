"""Lists of CPUs and memory nodes as the kernel writes them: `0-3,7` (cpuset(7), "List format")."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.errors import BadContent


def number_list(text: str) -> set[int]:
    """The numbers in *text*. Raises BadContent."""
    found: set[int] = set()
    for part in text.split(","):
        if not part.strip():
            continue
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise BadContent(f"not a list of numbers: `{text}`")
        found.update(range(int(first), int(last or first) + 1))
    return found


def as_list(numbers: Iterable[int]) -> str:
    """*numbers* as such a list, shortest form."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def node_mask(nodes: Iterable[int]) -> tuple[bytes, int]:
    """The last two arguments of set_mempolicy(2) for *nodes*."""
    bits = sum(1 << node for node in set(nodes))
    longs = max(1, (bits.bit_length() + 63) // 64)
    return (bits.to_bytes(8 * longs, "little"), 64 * longs + 1) if bits else (b"", 0)

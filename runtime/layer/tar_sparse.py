"""Sparse files in tar archives: which parts of a file the stream holds. What is between them is zeros.

Four forms (GNU tar manual, "Sparse Formats"): the old GNU one with type `S`, whose map stands in the header and in blocks behind
it; and in PAX headers 0.0 (one pair of records a part), 0.1 (one record with all) and 1.0 (text before the content).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from runtime.errors import BadContent
from runtime.layer.tar_format import BLOCK, decode_number
from runtime.light_dataclasses import dataclass

Segments = tuple[tuple[int, int], ...]
Records = Sequence[tuple[bytes, bytes]]

GNU_SPARSE = b"S"
_PREFIX = b"GNU.sparse."
_MOST_SEGMENTS = 100_000
_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class SparseFile:
    """A file of which only parts are stored."""

    size: int
    segments: Segments
    name: bytes | None = None
    """The file's name where the header has a made-up one for readers that don't know the format."""


def gnu_sparse(block: bytes, stored: int, read: Callable[[int], bytes]) -> SparseFile:
    """From a header *block* of type `S`, and the blocks behind it that continue its map."""
    size = decode_number(block[483:495], "size")
    pairs = _pairs(block[386:482])
    more = block[482:483]
    while more not in (b"\0", b"0"):
        following = read(BLOCK)
        pairs += _pairs(following[:504])
        more = following[504:505]
        if len(pairs) > _MOST_SEGMENTS:
            raise _too_many()
    return SparseFile(size, _check_segments(pairs, size, stored))


def _pairs(table: bytes) -> list[tuple[int, int]]:
    found = []
    for start in range(0, len(table), 24):
        if not table[start : start + 24].strip(b"\0 "):
            break
        found.append((decode_number(table[start : start + 12], "offset"), decode_number(table[start + 12 : start + 24], "size")))
    return found


def pax_sparse(records: Records, stored: int, read: Callable[[int], bytes]) -> SparseFile | None:
    """From the records of a PAX header; None when they are about no sparse file. *stored* is the size of what follows."""
    named = {keyword[len(_PREFIX) :]: value for keyword, value in records if keyword.startswith(_PREFIX)}
    if not named:
        return None
    version = (named.get(b"major", b"0"), named.get(b"minor", b"0"))
    name = named.get(b"name")
    if version == (b"1", b"0"):
        size = _decimal(named.get(b"realsize", b""))
        pairs, taken = _text_map(stored, read)
        return SparseFile(size, _check_segments(pairs, size, stored - taken), name)
    if version[0] != b"0":
        raise BadContent(f"tar archive has a sparse file of unknown form {b'.'.join(version).decode(errors='replace')}")
    size = _decimal(named.get(b"size", b""))
    if b"map" in named:
        numbers = [_decimal(text) for text in named[b"map"].split(b",") if text]
        offsets, lengths = numbers[::2], numbers[1::2]
    else:
        offsets = [_decimal(value) for keyword, value in records if keyword == _PREFIX + b"offset"]
        lengths = [_decimal(value) for keyword, value in records if keyword == _PREFIX + b"numbytes"]
    if len(offsets) != len(lengths):
        raise BadContent("tar archive has a sparse file with half a map")
    pairs = list(zip(offsets, lengths, strict=True))
    return SparseFile(size, _check_segments(pairs, size, stored), name)


def _text_map(stored: int, read: Callable[[int], bytes]) -> tuple[list[tuple[int, int]], int]:
    """The map of form 1.0, and how many bytes of the content it took: lines of decimal numbers, filled up to whole blocks."""
    text = b""
    taken = 0

    def line() -> int:
        nonlocal text, taken
        while b"\n" not in text:
            if taken + BLOCK > stored or len(text) > _LONGEST_NUMBER:
                raise BadContent("tar archive has a sparse file whose map doesn't end")
            text += read(BLOCK)
            taken += BLOCK
        number, _, text = text.partition(b"\n")
        return _decimal(number)

    count = line()
    if count > _MOST_SEGMENTS:
        raise _too_many()
    return [(line(), line()) for _ in range(count)], taken


def _check_segments(pairs: Sequence[tuple[int, int]], size: int, stored: int) -> Segments:
    """*pairs* without empty ones, which mark the end. They must ascend, lie inside the file and make up what is stored."""
    if len(pairs) > _MOST_SEGMENTS:
        raise _too_many()
    segments = tuple((offset, length) for offset, length in pairs if length)
    ascending = all(before[0] + before[1] <= after[0] for before, after in pairwise(segments))
    if not ascending or (segments and sum(segments[-1]) > size) or any(offset > size for offset, _ in pairs):
        raise BadContent("tar archive has a sparse file whose parts overlap or lie outside of it")
    if sum(length for _, length in segments) != stored:
        raise BadContent(f"tar archive has a sparse file whose parts are not the {stored} bytes that are stored")
    return segments


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise BadContent(f"tar archive has a sparse file with a malformed number: {text[:40]!r}")
    return int(text)


def _too_many() -> BadContent:
    return BadContent(f"tar archive has a sparse file of more than {_MOST_SEGMENTS} parts")

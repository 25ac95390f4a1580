"""Parse TensorBoard's event files: as much of them as scalars need, without protobuf. Pure.

A file is a sequence of records (tensorflow/core/lib/io/record_writer.h): length (uint64), its masked CRC-32C, content, its
masked CRC-32C. A content is an `Event` (event.proto), its `Summary` (summary.proto) holds named values; a scalar is a
`simple_value`, or since TensorFlow 2 a `TensorProto` (tensor.proto) whose metadata says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from runtime.light_dataclasses import dataclass

# Pictures, histograms and graphs are larger than any scalar's record: they are passed over unread.
_SCALAR_MAX = 64 << 10
_RECORD_MAX = 1 << 31

_HEAD = struct.Struct("<QI")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# DataType (types.proto) → how `tensor_content` holds it, and the field of TensorProto that holds it otherwise.
_DTYPES = {1: ("<f", 5), 2: ("<d", 6), 3: ("<i", 7), 9: ("<q", 10), 14: ("bfloat16", 13), 19: ("<e", 13)}
_DATA_CLASS_SCALAR = 1


class BadEvents(ValueError):
    """The file is not what it should be; nothing after this place can be read."""


@dataclass(frozen=True, slots=True)
class Scalar:
    tag: str
    value: float
    step: int
    time_s: float


def records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Whole records of *content* that may hold scalars, each with the offset behind it; then one empty record, at the offset
    from which the file must be read again (beyond *content* when a large record reaches further).

    Raises BadEvents.
    """
    offset = 0
    while offset + _HEAD.size <= len(content):
        length, check = _HEAD.unpack_from(content, offset)
        if masked_crc32c(content[offset : offset + 8]) != check or length > _RECORD_MAX:
            raise BadEvents("a record's length does not have its checksum")
        begin = offset + _HEAD.size
        end = begin + length + 4
        if length <= _SCALAR_MAX:
            if end > len(content):
                break
            data = content[begin : begin + length]
            if masked_crc32c(data) != int.from_bytes(content[end - 4 : end], "little"):
                raise BadEvents("a record does not have its checksum")
            yield data, end
        offset = end
    yield b"", offset


def scalars(record: bytes) -> Iterator[Scalar]:
    """The scalars of an event. Raises BadEvents."""
    time_s, step, summary = 0.0, 0, b""
    for number, kind, value in _fields(record):
        if (number, kind) == (1, _FIXED64):
            time_s = struct.unpack("<d", value)[0]
        elif (number, kind) == (2, _VARINT):
            step = value - (1 << 64) if value >> 63 else value
        elif (number, kind) == (5, _BYTES):
            summary = value
    for number, kind, value in _fields(summary):
        if (number, kind) == (1, _BYTES):
            named = _named_value(value)
            if named is not None:
                yield Scalar(named[0], named[1], step, time_s)


def masked_crc32c(data: bytes) -> int:
    """The checksum of a record, rotated and shifted as record_writer.h does it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _named_value(message: bytes) -> tuple[str, float] | None:
    """A `Summary.Value` as (tag, number); None when it is something else than a scalar."""
    tag, simple, tensor, metadata = "", None, None, b""
    for number, kind, value in _fields(message):
        if (number, kind) == (1, _BYTES):
            tag = value.decode(errors="replace")
        elif (number, kind) == (2, _FIXED32):
            simple = struct.unpack("<f", value)[0]
        elif (number, kind) == (8, _BYTES):
            tensor = value
        elif (number, kind) == (9, _BYTES):
            metadata = value
    if simple is None and tensor is not None and _says_scalar(metadata):
        simple = _one_number(tensor)
    return None if simple is None or not tag else (tag, float(simple))


def _says_scalar(metadata: bytes) -> bool:
    for number, kind, value in _fields(metadata):
        if (number, kind) == (4, _VARINT) and value == _DATA_CLASS_SCALAR:
            return True
        if (number, kind) == (1, _BYTES):  # plugin_data
            return any((n, k, v) == (1, _BYTES, b"scalars") for n, k, v in _fields(value))
    return False


def _one_number(tensor: bytes) -> float | None:
    """The number in a `TensorProto` of one element; None for other tensors."""
    given: dict[int, Any] = {}
    for number, kind, value in _fields(tensor):
        if number in (1, 4, *(place for _, place in _DTYPES.values())):
            given.setdefault(number, value if kind != _VARINT else _signed(value))
    if given.get(1) not in _DTYPES:
        return None
    form, place = _DTYPES[given[1]]
    content = given.get(4)
    if content:
        return _unpacked(form, content)
    value = given.get(place)
    if value is None:
        return 0.0  # what proto3 leaves out
    if isinstance(value, bytes) and form[1:] in "fd":
        return _unpacked(form, value)
    number = _signed(_varint(value, 0)[0]) if isinstance(value, bytes) else int(value)
    # Halves stand as the integers that their bits make.
    return _unpacked(form, (number & 0xFFFF).to_bytes(2, "little")) if place == 13 else float(number)


def _unpacked(form: str, content: bytes) -> float | None:
    if form == "bfloat16":
        form, content = "<f", b"\0\0" + content
    return float(struct.unpack(form, content)[0]) if struct.calcsize(form) == len(content) else None


def _fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a protobuf message (protobuf.dev, "Encoding"). Raises BadEvents."""
    offset = 0
    while offset < len(message):
        key, offset = _varint(message, offset)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, offset = _varint(message, offset)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, offset = _varint(message, offset)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise BadEvents(f"a record has a field of the unknown kind {kind}")
        if offset + size > len(message):
            raise BadEvents("a record has a field that reaches beyond it")
        yield number, kind, message[offset : offset + size]
        offset += size


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while offset < len(message) and shift < 70:
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, offset
        shift += 7
    raise BadEvents("a record has a number that doesn't end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()

"""Event files of real writers (recorded), and of some that break the format."""

from __future__ import annotations

import base64
import math
import struct
import zlib

import pytest

from launcher.tracking.metrics.event_format import BadEvents, Scalar, masked_crc32c, records, scalars

# tensorboardX 2.6.5, as torch.utils.tensorboard writes: `Loss/train` at steps 0 to 2, a text, `bad` = NaN at step 7.
SIMPLE_VALUES = (
    "eNqTYICAxfXeSpxzCoJ3Tjh4y1GKN6koMTNPz7UsNa/Eyqjkt5GDHFTdzTtCRpwMDAoOf0JuOmoJcwlycfnkFxfrl4A0iDIwNNjn"
    "c71gVICq1ny7MgCoOgGsWoARi3oGe36PmjVo6hdA1DNhqF+9apXd0kv3/llB1QtNffUIqN4BZr4ulzYXX4l+SWpFSXxxaW5uYlGl"
    "Ez8HuxCLEBMHoxNrRmpOTr4XBxcbFwtIyeQTRs8koSZ1f+TQAJnkBDaJXYuHi4uLOSkxBejEA/UP3qSzAQAGI1EO"
)
# tensorboard 2.21.0, as TensorFlow 2 writes: `acc` as tensors, 0.25 at step 3 and 0.5 at step 1000.
TENSORS = (
    "eNrzYICAf5M85nK+fBy+c8LBW45SvElFiZl5eq5lqXklVkZBelw6Jal5xflFSfmJRSl6xaW5uYlFlXrlRZklqUV6qSBV8WmZOanx"
    "EJFUZ9nf+lBzc2NlAzgj3kHMFWDWUuJS4GJOTE524uJgFGLQYmFgaLDz4uXi5GIvTk7MSSwqVmCcJ1XrZQDVPvXrhXjOoC9Q7S/Y"
    "sehnsEfTnzxXNRsAa2o/1A=="
)


def recorded(packed: str) -> bytes:
    return zlib.decompress(base64.b64decode(packed))


def read(content: bytes) -> tuple[list[Scalar], int]:
    whole = list(records(content))
    return [found for record, _ in whole for found in scalars(record)], whole[-1][1]


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked_crc32c(length)) + record + struct.pack("<I", masked_crc32c(record))


def test_scalars_of_torchs_writer() -> None:
    found, end = read(recorded(SIMPLE_VALUES))
    assert [("Loss/train", 0, 1.0), ("Loss/train", 1, 0.5)] == [(each.tag, each.step, each.value) for each in found[:2]]
    assert [1_700_000_000.5, 1_700_000_001.5, 1_700_000_002.5] == [each.time_s for each in found[:3]]
    assert ("bad", 7, True) == (found[3].tag, found[3].step, math.isnan(found[3].value))
    assert (4, len(recorded(SIMPLE_VALUES))) == (len(found), end)


def test_scalars_of_tensorflows_writer() -> None:
    assert [("acc", 3, 0.25), ("acc", 1000, 0.5)] == [(each.tag, each.step, each.value) for each in read(recorded(TENSORS))[0]]


def test_a_file_cut_anywhere_gives_what_is_whole_and_goes_on_from_there() -> None:
    content = recorded(SIMPLE_VALUES)
    whole = [(each.tag, each.step) for each in read(content)[0]]
    for cut in range(len(content)):
        first, end = read(content[:cut])
        rest, _ = read(content[end:])
        assert end <= cut
        assert whole == [(each.tag, each.step) for each in first + rest]


def test_a_byte_changed_anywhere_is_never_another_scalar() -> None:
    content = recorded(TENSORS)
    good = {(each.tag, each.value, each.step) for each in read(content)[0]}
    for place in range(len(content)):
        broken = content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :]
        try:
            found, _ = read(broken)
        except BadEvents:
            continue
        assert {(each.tag, each.value, each.step) for each in found} <= good


def test_a_large_record_is_passed_over_before_it_is_whole() -> None:
    content = framed(b"x" * 100_000) + recorded(TENSORS)
    found, end = read(content[:50])
    assert ([], 100_016) == (found, end)
    assert 2 == len(read(content[end:])[0])


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"\x2a\xff\xff\xff\xff\x0f", id="a length beyond the record"),
        pytest.param(b"\x10" + b"\xff" * 11, id="a number without an end"),
        pytest.param(b"\x2b", id="a group"),
    ],
)
def test_a_record_that_is_no_event_is_refused(record: bytes) -> None:
    with pytest.raises(BadEvents):
        read(framed(record))


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        pytest.param(b"\x08\x01\x22\x04" + struct.pack("<f", 1.5), 1.5, id="float as content"),
        pytest.param(b"\x08\x02\x32\x08" + struct.pack("<d", 0.1), 0.1, id="double"),
        pytest.param(b"\x08\x03\x3a\x01\x07", 7.0, id="int"),
        pytest.param(b"\x08\x09\x52\x0a" + b"\xff" * 9 + b"\x01", -1.0, id="negative int64"),
        pytest.param(b"\x08\x13\x6a\x02\x80\x78", 1.0, id="half"),
        pytest.param(b"\x08\x0e\x6a\x02\x80\x7f", 1.0, id="bfloat16"),
        pytest.param(b"\x08\x01\x22\x08" + bytes(8), None, id="two numbers"),
        pytest.param(b"\x08\x07\x42\x01x", None, id="text"),
    ],
)
def test_tensors_of_one_number_are_scalars(tensor: bytes, expected: float | None) -> None:
    metadata = b"\x4a\x0b\x0a\x09\x0a\x07scalars"
    value = b"\x0a\x01v" + b"\x42" + bytes([len(tensor)]) + tensor + metadata
    summary = b"\x0a" + bytes([len(value)]) + value
    found, _ = read(framed(b"\x10\x05\x2a" + bytes([len(summary)]) + summary))
    assert ([] if expected is None else [Scalar("v", expected, 5, 0.0)]) == found

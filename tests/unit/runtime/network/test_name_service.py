"""The wire format of name lookups: what is understood, what is answered, what is none of ours."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from runtime.network.addresses import Member
from runtime.network.name_service import Question, answer_of_members

MEMBERS = [
    Member("a1b2c3", (IPv4Address("10.217.0.2"), IPv6Address("fd00::2")), ("launch-a1b2c3", "trainer")),
    Member("d4e5f6", (IPv4Address("10.217.0.3"),), ("launch-d4e5f6", "worker")),
]


def query(name: str, kind: int = 1, *, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0xABCD, flags, questions, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def answers(reply: bytes | None) -> list[bytes]:
    assert reply is not None
    question = Question(query("x"))
    identifier, flags, _, count, _, _ = struct.unpack_from(">HHHHHH", reply)
    assert (question.id, True, 0) == (identifier, bool(flags & 0x8000), flags & 0xF)
    found, offset = [], 12
    while reply[offset]:
        offset += 1 + reply[offset]
    offset += 5
    for _ in range(count):
        *_, length = struct.unpack_from(">HHHIH", reply, offset)
        found.append(reply[offset + 12 : offset + 12 + length])
        offset += 12 + length
    assert offset == len(reply)
    return found


def test_a_member_is_found_by_each_of_its_names_however_they_are_written():
    for name in ("a1b2c3", "launch-a1b2c3", "Trainer"):
        assert [IPv4Address("10.217.0.2").packed] == answers(answer_of_members(Question(query(name)), MEMBERS))
    assert [IPv6Address("fd00::2").packed] == answers(answer_of_members(Question(query("trainer", 28)), MEMBERS))


def test_what_a_member_does_not_have_is_answered_with_nothing_and_nobody_else_is_asked():
    assert [] == answers(answer_of_members(Question(query("worker", 28)), MEMBERS))
    assert [] == answers(answer_of_members(Question(query("worker", 16)), MEMBERS))


def test_an_address_has_the_name_of_its_host():
    reply = answers(answer_of_members(Question(query("3.0.217.10.in-addr.arpa", 12)), MEMBERS))
    assert [b"\x0dlaunch-d4e5f6\x00"] == reply


@pytest.mark.parametrize(("name", "kind"), [("example.org", 1), ("9.9.9.9.in-addr.arpa", 12), ("x.in-addr.arpa", 12)])
def test_everything_else_is_for_the_hosts_servers(name, kind):
    assert answer_of_members(Question(query(name, kind)), MEMBERS) is None


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0" * 11, id="half a header"),
        pytest.param(query("a", questions=2), id="two questions"),
        pytest.param(query("a", flags=0x8000), id="an answer"),
        pytest.param(query("a")[:-3], id="no type"),
        pytest.param(query("a")[:12] + b"\xc0\x0c\0\1\0\1", id="a name that points at itself"),
        pytest.param(query("a")[:12] + b"\x3fabc", id="a label that goes on behind the end"),
        pytest.param(query("a")[:12], id="no name"),
    ],
)
def test_what_is_no_query_is_not_understood(garbage):
    with pytest.raises(ValueError, match=r"."):
        Question(garbage)

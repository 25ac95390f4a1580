"""nftables by netlink, without the `nft` program (linux/netfilter/nf_tables.h): tables, base chains, rules from expressions.

What the rules are for is `nat.py`.
"""

from __future__ import annotations

import errno
import struct
import sys

from runtime.light_dataclasses import dataclass
from runtime.network.addresses import Subnet
from runtime.network.netlink import (
    APPEND,
    CREATE,
    NETFILTER,
    Message,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    each_attribute,
    nested,
    network_number,
    text,
    to_text,
)

INET, IPV4, IPV6 = 1, 2, 10
"""Families: of both, of one."""

FORWARD, POSTROUTING = 2, 4
"""Hooks."""

DROP, ACCEPT = 0, 1

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _GET_TABLE, _DEL_TABLE, _NEW_CHAIN, _GET_CHAIN, _NEW_RULE, _GET_RULE, _DEL_RULE = 0, 1, 2, 3, 4, 6, 7, 8

_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_LIST_ELEMENT = 1
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE = 1, 2, 1
_CMP_DATA = 3

_META_IIFNAME, _META_OIFNAME, _META_NFPROTO = 6, 7, 15
_CT_STATE, _ESTABLISHED_OR_RELATED = 0, 0x6
EQUAL, NOT_EQUAL = 0, 1


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain of one of our tables; it accepts what no rule decides about."""

    name: str
    type: str
    hook: int
    priority: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is there."""

    handle: int
    compares: frozenset[bytes]
    """The values that its `cmp` expressions compare with."""


def _expression(name: str, *data: bytes) -> bytes:
    return nested(_LIST_ELEMENT, text(_EXPRESSION_NAME, name), nested(_EXPRESSION_DATA, *data))


def _compare(operation: int, value: bytes) -> bytes:
    return _expression("cmp", network_number(1, 1), network_number(2, operation), nested(3, attribute(_DATA_VALUE, value)))


def _mask(mask: bytes) -> bytes:
    values = nested(4, attribute(_DATA_VALUE, mask)), nested(5, attribute(_DATA_VALUE, bytes(len(mask))))
    return _expression("bitwise", network_number(1, 1), network_number(2, 1), network_number(3, len(mask)), *values)


def _meta(key: int) -> bytes:
    return _expression("meta", network_number(1, 1), network_number(2, key))


def iifname(interface: str, operation: int = EQUAL) -> bytes:
    """`iifname` compared with *interface* in full: with its final zero the prefix of a longer name doesn't match."""
    return _meta(_META_IIFNAME) + _compare(operation, interface_value(interface))


def oifname(interface: str, operation: int = EQUAL) -> bytes:
    """`oifname` compared with *interface*."""
    return _meta(_META_OIFNAME) + _compare(operation, interface_value(interface))


def interface_value(interface: str) -> bytes:
    """What the name of an interface is compared with."""
    return interface.encode() + b"\0"


def saddr_in(subnet: Subnet) -> bytes:
    """`ip saddr` or `ip6 saddr` in *subnet*, in a table of both families: bytes of the network header (base 1)."""
    family, offset = (IPV4, 12) if subnet.version == 4 else (IPV6, 8)
    address, mask = subnet.network_address.packed, subnet.netmask.packed
    load = _expression(
        "payload", network_number(1, 1), network_number(2, 1), network_number(3, offset), network_number(4, len(address))
    )
    return _meta(_META_NFPROTO) + _compare(EQUAL, bytes([family])) + load + _mask(mask) + _compare(EQUAL, address)


def ct_unrelated() -> bytes:
    """`ct state & (established | related) == 0`; the state is a word in the machine's byte order."""
    mask = _ESTABLISHED_OR_RELATED.to_bytes(4, sys.byteorder)
    return _expression("ct", network_number(1, 1), network_number(2, _CT_STATE)) + _mask(mask) + _compare(EQUAL, bytes(4))


def counter() -> bytes:
    """Count what gets so far; iptables shows rules without a counter as foreign."""
    return _expression("counter")


def masquerade() -> bytes:
    """The source becomes the address of the interface that the packet leaves by."""
    return _expression("masq")


def verdict(code: int) -> bytes:
    """DROP or ACCEPT."""
    value = nested(_DATA_VERDICT, network_number(_VERDICT_CODE, code))
    return _expression("immediate", network_number(1, 0), nested(2, value))


class Nftables(Netlink):
    """The rule set of one network namespace."""

    def __init__(self) -> None:
        super().__init__(NETFILTER)

    def replace_table(self, table: str, rules: dict[Chain, list[bytes]]) -> None:
        """Make *table* (of both families) hold just *rules*, at once."""
        name = text(_TABLE_NAME, table)
        messages = [_message(_NEW_TABLE, INET, name, flags=CREATE)]
        if table in self.tables():
            # Not always: what is deleted is waited for when the socket is closed, 8 ms and more.
            messages = [_message(_DEL_TABLE, INET, name), *messages]
        for chain, of_chain in rules.items():
            hook = nested(_CHAIN_HOOK, network_number(_HOOK_NUMBER, chain.hook), network_number(_HOOK_PRIORITY, chain.priority))
            words = text(_CHAIN_TABLE, table), text(_CHAIN_NAME, chain.name), text(_CHAIN_TYPE, chain.type)
            policy = network_number(_CHAIN_POLICY, ACCEPT)
            messages.append(_message(_NEW_CHAIN, INET, *words, hook, policy, flags=CREATE))
            messages += [_rule(INET, table, chain.name, rule, flags=CREATE | APPEND) for rule in of_chain]
        self._commit(messages)

    def delete_table(self, table: str) -> None:
        """Remove *table* with all that is in it, if it is there."""
        try:
            self._commit([_message(_DEL_TABLE, INET, text(_TABLE_NAME, table))])
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise

    def tables(self) -> set[str]:
        """Names of all tables of both families."""
        answers = self.dump(_message(_GET_TABLE, INET))
        return {name for _, body in answers if (name := to_text(attributes(body[4:]).get(_TABLE_NAME))) is not None}

    def rules(self, family: int, table: str, chain: str | None = None) -> list[Rule]:
        """The rules of *table*, or of its *chain*; none where there is no such table."""
        asked = text(_RULE_TABLE, table) + (text(_RULE_CHAIN, chain) if chain else b"")
        try:
            answers = self.dump(_message(_GET_RULE, family, asked))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        found = []
        for _, body in answers:
            known = attributes(body[4:])
            if to_text(known.get(_RULE_TABLE)) == table and chain in (None, to_text(known.get(_RULE_CHAIN))):
                handle = int.from_bytes(known[_RULE_HANDLE], "big")
                found.append(Rule(handle, _compared_values(known.get(_RULE_EXPRESSIONS, b""))))
        return found

    def has_forward_chain(self, family: int, table: str, chain: str) -> bool:
        """Whether *chain* is there and sees forwarded packets."""
        try:
            answers = self.ask(_message(_GET_CHAIN, family, text(_CHAIN_TABLE, table), text(_CHAIN_NAME, chain)))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        for _, body in answers:
            hook = attributes(attributes(body[4:]).get(_CHAIN_HOOK, b"")).get(_HOOK_NUMBER)
            if hook == struct.pack(">I", FORWARD):
                return True
        return False

    def insert_rules(self, family: int, table: str, chain: str, rules: list[bytes]) -> None:
        """Put *rules* before all others of *chain*."""
        self._commit([_rule(family, table, chain, rule, flags=CREATE) for rule in rules])

    def delete_rules(self, family: int, table: str, chain: str, rules: list[Rule]) -> None:
        """Remove *rules* from *chain*."""
        head = text(_RULE_TABLE, table) + text(_RULE_CHAIN, chain)
        self._commit(
            [_message(_DEL_RULE, family, head, attribute(_RULE_HANDLE, rule.handle.to_bytes(8, "big"))) for rule in rules]
        )

    def _commit(self, messages: list[Message]) -> None:
        begin, end = (Message(kind, struct.pack(">BBH", 0, 0, _SUBSYSTEM)) for kind in (_BATCH_BEGIN, _BATCH_END))
        self.batch(begin, messages, end)


def _message(kind: int, family: int, *attributes_: bytes, flags: int = 0) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, struct.pack(">BBH", family, 0, 0) + b"".join(attributes_), flags)


def _rule(family: int, table: str, chain: str, expressions: bytes, *, flags: int) -> Message:
    words = text(_RULE_TABLE, table), text(_RULE_CHAIN, chain)
    return _message(_NEW_RULE, family, *words, nested(_RULE_EXPRESSIONS, expressions), flags=flags)


def _compared_values(expressions: bytes) -> frozenset[bytes]:
    found = set()
    for _, expression in each_attribute(expressions):
        known = attributes(expression)
        if to_text(known.get(_EXPRESSION_NAME)) == "cmp":
            data = attributes(attributes(known.get(_EXPRESSION_DATA, b"")).get(_CMP_DATA, b""))
            found.add(data.get(_DATA_VALUE, b""))
    return frozenset(found)

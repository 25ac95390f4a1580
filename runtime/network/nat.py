"""Let containers on the bridge out through the host's addresses, and nobody in: nftables over netlink, without the `nft` program.

    table ip launch {
        chain postrouting { type nat hook postrouting priority srcnat;
            ip saddr <subnet> oifname != "launch0" masquerade }
        chain forward { type filter hook forward priority filter - 1; policy accept;
            iifname != "launch0" oifname "launch0" ct state & (established | related) == 0 drop }
    }

Docker, ufw and others set the policy of their own forward chain to drop, and an accept in one table does not overrule a drop in
another. Where iptables' nft variant keeps that chain (`ip filter FORWARD`), two accept rules are put first in it, the same that
`iptables -I FORWARD -i launch0 -j ACCEPT` makes; the drop above still keeps strangers out. iptables' legacy variant cannot be
reached through nftables: `launch doctor` names it.
"""

from __future__ import annotations

import sys
from contextlib import closing
from ipaddress import IPv4Network
from typing import Any

TABLE = "launch"

_FAMILY_IPV4 = 2  # NFPROTO_IPV4
_SRCNAT_PRIORITY = 100
_BEFORE_FILTER_PRIORITY = -1
_DROP, _ACCEPT = 0, 1
_META_IIFNAME, _META_OIFNAME = 6, 7
_CT_STATE = 0
_ESTABLISHED_OR_RELATED = 0x6
_EQUAL, _NOT_EQUAL = 0, 1
_FOREIGN_TABLE, _FOREIGN_CHAIN = "filter", "FORWARD"
_HOOK_FORWARD = 2

Expression = dict[str, Any]


def _nftables() -> Any:
    from pyroute2.nftables.main import NFTables

    return closing(NFTables(nfgen_family=_FAMILY_IPV4))


def _expression(name: str, **attributes: Any) -> Expression:
    prefix = f"NFTA_{name.upper()}_"
    data = [(prefix + key.upper(), value) for key, value in attributes.items()]
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _interface(key: int, name: str, operation: int) -> list[Expression]:
    """`iifname`/`oifname` compared with *name*, in full: with its final zero the prefix of a longer name doesn't match."""
    return [_expression("meta", dreg=1, key=key), _expression("cmp", sreg=1, op=operation, data=_value(name.encode() + b"\0"))]


def _masked(mask: bytes) -> Expression:
    return _expression("bitwise", sreg=1, dreg=1, len=len(mask), mask=_value(mask), xor=_value(bytes(len(mask))))


def _from_subnet(subnet: IPv4Network) -> list[Expression]:
    """`ip saddr <subnet>`: 4 bytes at 12 of the network header (base 1)."""
    return [
        _expression("payload", dreg=1, base=1, offset=12, len=4),
        _masked(subnet.netmask.packed),
        _expression("cmp", sreg=1, op=_EQUAL, data=_value(subnet.network_address.packed)),
    ]


def _of_no_connection() -> list[Expression]:
    """`ct state & (established | related) == 0`; the state is a 32 bit word in the machine's byte order."""
    mask = _ESTABLISHED_OR_RELATED.to_bytes(4, sys.byteorder)
    return [
        _expression("ct", key=_CT_STATE, dreg=1),
        _masked(mask),
        _expression("cmp", sreg=1, op=_EQUAL, data=_value(bytes(4))),
    ]


def _verdict(code: int) -> Expression:
    return _expression("immediate", dreg=0, data={"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]})


def masquerade_rule(subnet: IPv4Network, bridge: str) -> list[Expression]:
    return [*_from_subnet(subnet), *_interface(_META_OIFNAME, bridge, _NOT_EQUAL), _expression("masq")]


def strangers_rule(bridge: str) -> list[Expression]:
    return [
        *_interface(_META_IIFNAME, bridge, _NOT_EQUAL),
        *_interface(_META_OIFNAME, bridge, _EQUAL),
        *_of_no_connection(),
        _verdict(_DROP),
    ]


def _rules_of(nft: Any, table: str, chain: str) -> list[Any]:
    return [
        rule
        for rule in nft.get_rules()
        if rule.get_attr("NFTA_RULE_TABLE") == table and rule.get_attr("NFTA_RULE_CHAIN") == chain
    ]


def ensure_nat(subnet: IPv4Network, bridge: str) -> None:
    """Make the table above and open foreign forward chains. Idempotent; a half-made table is made anew."""
    with _nftables() as nft:
        if [len(_rules_of(nft, TABLE, chain)) for chain in ("postrouting", "forward")] != [1, 1]:
            _delete_table(nft)
            nft.table("add", name=TABLE)
            nft.chain(
                "add", table=TABLE, name="postrouting", type="nat", hook="postrouting", priority=_SRCNAT_PRIORITY, policy=_ACCEPT
            )
            nft.chain(
                "add",
                table=TABLE,
                name="forward",
                type="filter",
                hook="forward",
                priority=_BEFORE_FILTER_PRIORITY,
                policy=_ACCEPT,
            )
            nft.rule("add", table=TABLE, chain="postrouting", expressions=(masquerade_rule(subnet, bridge),))
            nft.rule("add", table=TABLE, chain="forward", expressions=(strangers_rule(bridge),))
        if _foreign_chain_drops(nft) and not _our_foreign_rules(nft, bridge):
            for key in (_META_IIFNAME, _META_OIFNAME):
                rule = [*_interface(key, bridge, _EQUAL), _expression("counter"), _verdict(_ACCEPT)]
                nft.rule("insert", table=_FOREIGN_TABLE, chain=_FOREIGN_CHAIN, expressions=(rule,))


def remove_nat(bridge: str) -> None:
    """Undo `ensure_nat`. Idempotent."""
    with _nftables() as nft:
        _delete_table(nft)
        for handle in _our_foreign_rules(nft, bridge):
            nft.rule("del", table=_FOREIGN_TABLE, chain=_FOREIGN_CHAIN, handle=handle)


def _delete_table(nft: Any) -> None:
    if any(table.get_attr("NFTA_TABLE_NAME") == TABLE for table in nft.get_tables()):
        nft.table("del", name=TABLE)


def _foreign_chain_drops(nft: Any) -> bool:
    for chain in nft.get_chains():
        if (chain.get_attr("NFTA_CHAIN_TABLE"), chain.get_attr("NFTA_CHAIN_NAME")) == (_FOREIGN_TABLE, _FOREIGN_CHAIN):
            hook = chain.get_attr("NFTA_CHAIN_HOOK")
            return hook is not None and hook.get_attr("NFTA_HOOK_HOOKNUM") == _HOOK_FORWARD
    return False


def _our_foreign_rules(nft: Any, bridge: str) -> list[int]:
    """Handles of the rules in the foreign chain that compare an interface with our bridge."""
    wanted = bridge.encode() + b"\0"
    handles = []
    for rule in _rules_of(nft, _FOREIGN_TABLE, _FOREIGN_CHAIN):
        for expression in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ():
            data = expression.get_attr("NFTA_EXPR_DATA")
            if expression.get_attr("NFTA_EXPR_NAME") != "cmp" or data is None:
                continue
            compared = data.get_attr("NFTA_CMP_DATA")
            if compared is not None and bytes(compared.get_attr("NFTA_DATA_VALUE") or b"") == wanted:
                handles.append(rule.get_attr("NFTA_RULE_HANDLE"))
                break
    return handles

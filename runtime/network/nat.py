"""Let containers on a bridge out through the host's addresses, and nobody in. Each bridge has a table of its own, called like it:

    table inet launch0 {
        chain postrouting { type nat hook postrouting priority srcnat; policy accept;
            ip saddr <subnet> oifname != "launch0" masquerade
            ip6 saddr <subnet> oifname != "launch0" masquerade }
        chain forward { type filter hook forward priority filter - 1; policy accept;
            oifname "launch0" ct state & (established | related) == 0 drop }
    }

On a named network, whose members may talk to each other, `iifname != "…"` stands before that: where br_netfilter is loaded
(Docker does that) frames between two ports pass this hook as well.

Docker, ufw and others set the policy of their own forward chain to drop, and an accept in one table does not overrule a drop in
another. Where iptables' nft variant keeps that chain (`ip filter FORWARD`, and `ip6`), two accept rules are put first in it, the
same that `iptables -I FORWARD -i launch0 -j ACCEPT` makes; the drop above still keeps strangers out. iptables' legacy variant
cannot be reached through nftables: `launch doctor` names it.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.network.addresses import Subnet
from runtime.network.nftables import (
    ACCEPT,
    DROP,
    FORWARD,
    INET,
    IPV4,
    IPV6,
    NOT_EQUAL,
    POSTROUTING,
    Chain,
    Nftables,
    Rule,
    counter,
    ct_unrelated,
    iifname,
    interface_value,
    masquerade,
    oifname,
    saddr_in,
    verdict,
)

_SRCNAT_PRIORITY = 100
_BEFORE_FILTER_PRIORITY = -1
_FOREIGN_TABLE, _FOREIGN_CHAIN = "filter", "FORWARD"


def ensure_nat(bridge: str, subnets: Sequence[Subnet], *, shared: bool) -> None:
    """Make the table above and open foreign forward chains. Idempotent; a table of which something is gone is made anew."""
    with Nftables() as nft:
        rules = _rules(bridge, subnets, shared=shared)
        if len(nft.rules(INET, bridge)) != sum(map(len, rules.values())):
            nft.replace_table(bridge, rules)
        for family in (IPV4, IPV6):
            if nft.has_forward_chain(family, _FOREIGN_TABLE, _FOREIGN_CHAIN) and not _own_rules(nft, family, bridge):
                opened = [side(bridge) + counter() + verdict(ACCEPT) for side in (iifname, oifname)]
                nft.insert_rules(family, _FOREIGN_TABLE, _FOREIGN_CHAIN, opened)


def remove_nat(bridge: str) -> None:
    """Undo `ensure_nat`. Idempotent."""
    with Nftables() as nft:
        nft.delete_table(bridge)
        for family in (IPV4, IPV6):
            found = _own_rules(nft, family, bridge)
            if found:
                nft.delete_rules(family, _FOREIGN_TABLE, _FOREIGN_CHAIN, found)


def _rules(bridge: str, subnets: Sequence[Subnet], *, shared: bool) -> dict[Chain, list[bytes]]:
    foreign = iifname(bridge, NOT_EQUAL) if shared else b""
    return {
        Chain("postrouting", "nat", POSTROUTING, _SRCNAT_PRIORITY): [
            saddr_in(subnet) + oifname(bridge, NOT_EQUAL) + masquerade() for subnet in subnets
        ],
        Chain("forward", "filter", FORWARD, _BEFORE_FILTER_PRIORITY): [
            foreign + oifname(bridge) + ct_unrelated() + verdict(DROP)
        ],
    }


def _own_rules(nft: Nftables, family: int, bridge: str) -> list[Rule]:
    """The rules of the foreign chain that compare an interface with our bridge."""
    return [rule for rule in nft.rules(family, _FOREIGN_TABLE, _FOREIGN_CHAIN) if interface_value(bridge) in rule.compares]

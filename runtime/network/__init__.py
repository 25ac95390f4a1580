"""Links, addresses and NAT. The only place of pyroute2."""

"""Links, addresses, NAT, names and ports of containers."""

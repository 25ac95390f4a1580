"""What a kernel that refuses a network means, and what works instead."""

from __future__ import annotations

import errno

from runtime.errors import NetworkError, RuntimeFailure, Unsupported
from runtime.network.netlink import NetlinkError


def needs_root(network: str) -> Unsupported:
    """An ordinary user asked for a bridge."""
    return Unsupported(f"`network: {network}` needs root", hint=WITHOUT_ROOT)


WITHOUT_ROOT = (
    "`network=pasta` is a network of the run's own without root, `network=host` shares the host's, `network=none` needs nothing"
)


def explained(error: OSError, doing: str) -> RuntimeFailure:
    """*error* of netlink or of a system call as what it means."""
    code = error.errno or 0
    words = f"{doing} failed: {error.strerror or error} ({errno.errorcode.get(code, code)})"
    if code == errno.EPERM:
        hint = "a bridge needs root and CAP_NET_ADMIN: `network=host` shares the host's network without"
        return Unsupported(words, hint=hint)
    if isinstance(error, NetlinkError) and code in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT):
        return Unsupported(words, hint="the kernel may lack `bridge`, `veth` or `nf_tables` (`launch doctor` says which)")
    return NetworkError(words)

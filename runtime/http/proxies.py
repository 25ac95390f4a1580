"""Which proxy stands between us and a host: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case.

As Go's programs read them, so that what works for docker works here: a host of this machine is never behind a proxy, and
`NO_PROXY` may hold domains (`.corp`, `corp`), addresses, networks (`10.0.0.0/8`) and `HOST:PORT`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

if TYPE_CHECKING:
    import ipaddress

_USER_INFO = re.compile(r"://[^/\s\"']*@")


def proxy_for(parts: SplitResult, environ: Mapping[str, str]) -> str | None:
    """The proxy's address for a request to *parts*; None: go there directly."""
    host = (parts.hostname or "").lower()
    proxy = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    if not proxy or is_loopback(host) or _is_excepted(host, parts.port, _variable(environ, "no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether *host* (without a port) is this machine's loopback, by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host.strip("[]"))
    return address is not None and address.is_loopback


def without_user_info(text: str) -> str:
    """*text* without user and password of the addresses in it (RFC 3986, section 3.2.1), also where a password has an `@`."""
    return _USER_INFO.sub("://", text)


def redact_url(url: str) -> str:
    """*url* without a password, and without a query: signed addresses are secrets too."""
    parts = urlsplit(url)
    netloc = parts.netloc if "@" not in parts.netloc else "***@" + parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def _variable(environ: Mapping[str, str], name: str) -> str:
    # A web server sets HTTP_PROXY from the header `Proxy` of a request (httpoxy), but launch is no CGI program.
    return environ.get(name) or environ.get(name.upper()) or ""


def _is_excepted(host: str, port: int | None, exceptions: str) -> bool:
    address = _address(host)
    for entry in exceptions.replace(",", " ").split():
        entry = entry.lower()
        if entry == "*" or (address is not None and _in_network(address, entry)):
            return True
        name, colon, its_port = entry.rpartition(":")
        if colon and its_port.isdigit() and "]" not in its_port:
            if port is None or int(its_port) != port:
                continue
            entry = name.strip("[]")
        domain = entry.removeprefix("*").removeprefix(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    import ipaddress

    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False

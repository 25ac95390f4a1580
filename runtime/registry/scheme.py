"""Whether a registry is spoken to with TLS: always, but for this machine's loopback and for what is configured as insecure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runtime.oci.reference import DOCKER_HUB
from runtime.registry.proxies import is_loopback

if TYPE_CHECKING:
    from runtime.registry.connections import Connections


def api_host(host: str) -> str:
    """Where the API of *host* is: Docker Hub's is on another host than its name."""
    return f"registry-1.{DOCKER_HUB}" if host == DOCKER_HUB else host


def is_local(host: str) -> bool:
    """Whether *host* (`HOST[:PORT]`) is this machine's loopback; Docker asks for no trusted certificate there."""
    return is_loopback(urlsplit(f"//{host}").hostname or "")


def find_scheme(host: str, connections: Connections, *, insecure: bool) -> str:
    """`https` or `http` for *host*, asked where both may be."""
    local = is_local(host)
    if not local and not insecure:
        return "https"
    # On loopback a registry without TLS is the rule; elsewhere TLS without a known certificate is. Docker tries https first.
    order = ("http", "https") if local else ("https", "http")
    return next((scheme for scheme in order if _answers(f"{scheme}://{host}/v2/", connections)), order[0])


def _answers(url: str, connections: Connections) -> bool:
    import http.client

    try:
        with connections.request("GET", url, headers={}) as answer:
            answer.discard()
            # A TLS server that is spoken to in plain HTTP says 400, or nothing at all. Both kinds answer 200 or 401 here.
            return answer.status != 400
    except (OSError, http.client.HTTPException):
        return False

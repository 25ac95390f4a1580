"""Whether a registry is spoken to with TLS, and which certificates it is believed.

TLS is the rule, but for this machine's loopback and for what is configured as insecure. `certs.d/HOST[:PORT]/`, as docker and
podman keep it per host (containers-certs.d(5), and Docker's "Verify repository client with certificates"): `*.crt` are
authorities, `NAME.cert` with `NAME.key` is our own certificate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runtime.http.proxies import is_loopback
from runtime.http.trust import tls_context, trust_authorities, use_certificate
from runtime.oci.reference import DOCKER_HUB

if TYPE_CHECKING:
    import ssl

    from runtime.http.connections import Connections


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
    try:
        with connections.request("GET", url, headers={}) as answer:
            answer.discard()
            # A TLS server that is spoken to in plain HTTP says 400, or nothing at all. Both kinds answer 200 or 401 here.
            return answer.status != 400
    except OSError:
        return False


def registry_tls(host: str, environ: Mapping[str, str], *, verify: bool) -> ssl.SSLContext:
    """What to speak TLS to *host* (`HOST[:PORT]`) with. Raises NetworkError for a certificate that cannot be read."""
    context = tls_context(environ, verify=verify)
    for directory in _certificate_directories(host, environ):
        for file in sorted(directory.glob("*.crt")):
            trust_authorities(context, file, f"`{file}`")
        for file in sorted(directory.glob("*.cert")):
            use_certificate(context, file, file.with_suffix(".key"))
    return context


def _certificate_directories(host: str, environ: Mapping[str, str]) -> Iterator[Path]:
    config = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    own = (Path(config) / "containers/certs.d",) if config else ()
    for top in (*own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")):
        if (directory := top / host).is_dir():
            yield directory

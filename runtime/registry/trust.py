"""Which certificates a registry is believed: the system's, a company's bundle, and those that docker and podman keep per host.

`certs.d/HOST[:PORT]/` (containers-certs.d(5), and Docker's "Verify repository client with certificates"): `*.crt` are
authorities, `NAME.cert` with `NAME.key` is our own certificate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import NetworkError

if TYPE_CHECKING:
    import ssl

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def tls_context(host: str, environ: Mapping[str, str], *, verify: bool = True) -> ssl.SSLContext:
    """What to speak TLS to *host* (`HOST[:PORT]`) with. Raises NetworkError for a bundle that cannot be read."""
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for variable in _BUNDLES:
        if bundle := environ.get(variable):
            _trust(context, Path(bundle), f"`{variable}` names `{bundle}`")
    for directory in certificate_directories(host, environ):
        for file in sorted(directory.glob("*.crt")):
            _trust(context, file, f"`{file}`")
        for file in sorted(directory.glob("*.cert")):
            _identify(context, file)
    return context


def certificate_directories(host: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """The directories with certificates for *host*, that are there."""
    config = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    own = (Path(config) / "containers/certs.d",) if config else ()
    for top in (*own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")):
        if (directory := top / host).is_dir():
            yield directory


def _trust(context: ssl.SSLContext, file: Path, what: str) -> None:
    import ssl

    try:
        # REQUESTS_CA_BUNDLE may be a directory of hashed names.
        context.load_verify_locations(**({"capath": str(file)} if file.is_dir() else {"cafile": str(file)}))
    except ssl.SSLError as error:
        raise NetworkError(f"{what}, which holds no certificate: {error.reason}") from error
    except OSError as error:
        raise NetworkError(f"{what}, which cannot be read: {error.strerror}") from error


def _identify(context: ssl.SSLContext, certificate: Path) -> None:
    import ssl

    key = certificate.with_suffix(".key")
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise NetworkError(f"the certificate `{certificate}` with key `{key}` cannot be used: {error}") from error

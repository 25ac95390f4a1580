"""Which certificates a server is believed: the system's, and those of a company's bundle, as curl and pip take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import NetworkError

if TYPE_CHECKING:
    import ssl

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def tls_context(environ: Mapping[str, str], *, verify: bool = True) -> ssl.SSLContext:
    """What to speak TLS with. Raises NetworkError for a bundle that cannot be read."""
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for variable in _BUNDLES:
        if bundle := environ.get(variable):
            trust_authorities(context, Path(bundle), f"`{variable}` names `{bundle}`")
    return context


def trust_authorities(context: ssl.SSLContext, file: Path, what: str) -> None:
    """Believe the authorities of *file*, or of a directory of hashed names. *what*: where we have it from, for the error."""
    import ssl

    try:
        context.load_verify_locations(**({"capath": str(file)} if file.is_dir() else {"cafile": str(file)}))
    except ssl.SSLError as error:
        raise NetworkError(f"{what}, which holds no certificate: {error.reason}") from error
    except OSError as error:
        raise NetworkError(f"{what}, which cannot be read: {error.strerror}") from error


def use_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None = None) -> None:
    """Show *certificate* as our own; its key may lie in the same file."""
    import ssl

    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        with_key = "" if key is None else f" with key `{key}`"
        raise NetworkError(f"the certificate `{certificate}`{with_key} cannot be used: {error}") from error

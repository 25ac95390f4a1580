"""Check the signature of an `InRelease` file. The only place of pysequoia (OpenPGP in a wheel: no gpgv, no sqv needed).

A signature of any one key in the keyring is enough, as for apt. What counts afterwards is the *returned* text: it is what was
signed, while the file may hold more around it (RFC 9580, "Cleartext Signature Framework"). Debian's archive keys come
with this package; the host's own keyring is added, since it knows keys that are newer than this release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.errors import BadContent, Unsupported

SHIPPED_KEYRING = Path(__file__).parent / "keys" / "debian-archive-keyring.pgp"
_HOST_KEYRINGS = ("usr/share/keyrings/debian-archive-keyring.pgp", "usr/share/keyrings/debian-archive-keyring.gpg")


def archive_keyrings(root: Path = Path("/")) -> tuple[Path, ...]:
    """The host's Debian archive keyring where there is one, then ours."""
    hosts = [root / path for path in _HOST_KEYRINGS if (root / path).is_file()]
    return (*hosts[:1], SHIPPED_KEYRING)


def verify_signature(message: bytes, *, keyrings: Sequence[Path], origin: str) -> bytes:
    """The signed text of *message*, signed inline by a key of *keyrings*. *origin* is the address, for the error."""
    try:
        import pysequoia
    except ImportError as error:
        raise Unsupported(
            "cannot check Debian's signatures: the Python package `pysequoia` is missing",
            hint="it is a dependency of `launch`: install `launch` again, or `pip install pysequoia`",
        ) from error
    certificates: list[Any] = []
    for path in keyrings:
        try:
            certificates.extend(pysequoia.Cert.split_bytes(path.read_bytes()))
        except (OSError, RuntimeError) as error:
            raise BadContent(f"keyring `{path}` cannot be read: {_first_line(error)}") from error
    asked_for: list[str] = []

    def known_certificates(key_ids: list[str]) -> list[Any]:
        asked_for.extend(key_ids)
        return certificates

    if b"-----BEGIN PGP SIGNED MESSAGE-----" not in message:
        raise BadContent(f"`{origin}` is not signed")
    try:
        verified = pysequoia.verify(message, store=known_certificates)
    except Exception as error:  # pysequoia raises RuntimeError, and TypeError for what is no message at all
        signers = ", ".join(f"`{key[-16:].upper()}`" for key in asked_for) or "nobody"
        raise BadContent(
            f"the signature of `{origin}` is not good: {_first_line(error)}",
            hint=f"signed by {signers}; keys known from {', '.join(f'`{path}`' for path in keyrings)}. "
            "either the file was changed on its way, or the archive has a key that this keyring lacks",
        ) from error
    if not verified.valid_sigs or verified.bytes is None:
        raise BadContent(f"the signature of `{origin}` is not good: no valid signature")
    return bytes(verified.bytes)


def _first_line(error: BaseException) -> str:
    """Without the native backtrace that pysequoia appends."""
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__

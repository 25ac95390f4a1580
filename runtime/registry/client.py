"""One registry, spoken to in the OCI distribution-spec 1.1: manifests, blobs, uploads.

Every answer is checked against the digest that was asked for where there is one; what arrives as a stream (`open_blob`) is
checked by whoever reads it (`download.py`). Authentication, repeated attempts and redirects happen here; mirrors are `pull.py`'s.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, urlencode, urljoin, urlsplit

from runtime.errors import BadContent, NetworkError
from runtime.http.client import HttpClient, Patience
from runtime.http.connections import Answer, Body, can_repeat, host_of
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import DOCKER_INDEX, DOCKER_MANIFEST, DOCUMENT_LIMIT, INDEX, MANIFEST
from runtime.registry.auth import Authority, Scopes, repository_scope
from runtime.registry.configuration import registries_configuration
from runtime.registry.credentials import Credentials, find_credentials
from runtime.registry.refusals import NotInRegistry, refusal
from runtime.registry.tls import api_host, find_scheme, is_local, registry_tls

if TYPE_CHECKING:
    import ssl

MANIFEST_TYPES = (INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
_ERROR_LIMIT = 1 << 20
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True, slots=True)
class ManifestAnswer:
    """A manifest or index as the registry gave it, to the byte."""

    content: bytes
    media_type: str
    """As the registry names it; without parameters."""
    digest: Digest


class Registry:
    """The registry at *host* (`HOST[:PORT]`, or `docker.io`). Safe to share between threads; connections are kept."""

    def __init__(
        self,
        host: str,
        *,
        environ: Mapping[str, str] = os.environ,
        insecure: bool | None = None,
        credentials: Credentials | None = None,
        repository: str = "",
        patience: Patience | None = None,
    ) -> None:
        """*insecure*: plain HTTP and unknown certificates are taken (None: as registries.conf says, and on loopback).
        *credentials*: instead of those that are stored. *repository*: which of those, where they are for a part of a registry."""
        self.host = host
        self._environ = environ
        if insecure is None:
            insecure = registries_configuration(environ).is_insecure(host)
        self._insecure = insecure or is_local(host)
        self._given = credentials
        self._lock = threading.Lock()
        self.patience = patience or Patience()
        self._http = HttpClient(environ, patience=self.patience, tls=self._tls, server=self._named)
        self._address: str | None = None
        self._repository = repository
        self._authority = Authority(host, credentials=self._find_credentials, ask=self._ask_realm)

    def close(self) -> None:
        """Close kept connections. Streams that are open stay so."""
        self._http.close()

    # --- manifests

    def manifest(self, repository: str, reference: str) -> ManifestAnswer:
        """The manifest or index *reference* (a tag or a digest). Raises NotInRegistry, BadContent when the digest differs."""
        what = f"manifest `{reference}` of `{repository}`"
        path = f"{repository}/manifests/{reference}"
        accept = {"Accept": ", ".join(MANIFEST_TYPES)}
        with self._ask("GET", path, what=what, scopes=_pulling(repository), headers=accept) as answer:
            content = answer.read_all(DOCUMENT_LIMIT, f"registry `{self.host}`: {what}")
            media_type = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
            named = answer.header("Docker-Content-Digest")
        digest = digest_bytes(content)
        for expected in (reference if ":" in reference else None, named):
            if expected is not None and expected.startswith("sha256:") and expected != digest:
                raise BadContent(f"registry `{self.host}`: {what} has digest `{digest}`, not `{expected}`")
        return ManifestAnswer(content, media_type, digest)

    def manifest_digest(self, repository: str, tag: str) -> Digest | None:
        """What *tag* points to now; None when there is no such tag."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        answer = self._head(repository, f"manifests/{tag}", f"manifest `{tag}` of `{repository}`", headers)
        if answer is None:
            return None
        named = answer.header("Docker-Content-Digest")
        return Digest(named) if named is not None else self.manifest(repository, tag).digest

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> Digest:
        """Store a manifest under a tag or its digest. Its blobs have to be there."""
        what = f"manifest `{reference}` of `{repository}`"
        path = f"{repository}/manifests/{reference}"
        headers = {"Content-Type": media_type}
        scopes, fine = _pushing(repository), (201, 200, 202)
        answer = self._change("PUT", path, scopes, what=what, headers=headers, body=content, fine=fine)
        named = answer.header("Docker-Content-Digest")
        digest = digest_bytes(content)
        if named is not None and named.startswith("sha256:") and named != digest:
            raise BadContent(f"registry `{self.host}` stored {what} as `{named}`, not `{digest}`")
        return digest

    # --- blobs

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """The size of a blob; None when the repository doesn't have it."""
        answer = self._head(repository, f"blobs/{digest}", f"blob `{digest}` of `{repository}`", {})
        if answer is None:
            return None
        length = answer.header("Content-Length") or ""
        return int(length) if length.isascii() and length.isdigit() else 0

    def open_blob(self, repository: str, digest: Digest, *, offset: int = 0) -> Answer:
        """A blob as a stream from *offset* on, if the registry can do that: status 206; with 200 it begins at the beginning.

        Nothing is checked here, and a connection that breaks is the reader's to deal with.
        """
        # No transparent compression: offsets count bytes of the blob.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        what = f"blob `{digest}` of `{repository}`"
        path, fine = f"{repository}/blobs/{digest}", (200, 206) if offset else (200,)
        answer = self._ask("GET", path, what=what, headers=headers, scopes=_pulling(repository), fine=fine)
        begins = answer.header("Content-Range") or ""
        if answer.status == 206 and not begins.startswith(f"bytes {offset}-"):
            answer.close()
            raise BadContent(f"registry `{self.host}`: {what} was asked for from byte {offset} on and came as `{begins}`")
        return answer

    def mount_blob(self, repository: str, digest: Digest, from_repository: str) -> bool:
        """Let *repository* have the blob of *from_repository* without sending it. Whether the registry did."""
        what = f"blob `{digest}` of `{from_repository}` for `{repository}`"
        path = f"{repository}/blobs/uploads/?{urlencode({'mount': digest, 'from': from_repository})}"
        scopes = (repository_scope(repository, "pull,push"), repository_scope(from_repository))
        answer = self._change("POST", path, scopes, what=what, body=b"", fine=(201, 202))
        if answer.status == 202:  # an upload has begun instead
            self.cancel_upload(repository, self._location(answer, what))
        return answer.status == 201

    # --- uploads

    def start_upload(self, repository: str) -> str:
        """Begin an upload; where it goes."""
        what = f"an upload to `{repository}`"
        answer = self._change("POST", f"{repository}/blobs/uploads/", _pushing(repository), what=what, body=b"", fine=(202,))
        return self._location(answer, what)

    def upload_chunk(self, repository: str, location: str, content: Body, *, offset: int | None = None) -> str:
        """Append *content*; where the next piece goes. Bytes may name their place with *offset*, a stream may not."""
        what = f"a piece of an upload to `{repository}`"
        headers = {"Content-Type": "application/octet-stream"}
        if offset is not None and isinstance(content, bytes):
            headers["Content-Range"] = f"{offset}-{offset + len(content) - 1}"
        scopes, fine = _pushing(repository), (202, 201, 204)
        answer = self._change("PATCH", location, scopes, what=what, headers=headers, body=content, fine=fine)
        return self._location(answer, what)

    def upload_offset(self, repository: str, location: str) -> tuple[str, int]:
        """(where the next piece goes, bytes that have arrived) of an upload that was broken off."""
        what = f"the state of an upload to `{repository}`"
        answer = self._change("GET", location, _pushing(repository), what=what, fine=(204, 202, 200))
        received = _RANGE.match(answer.header("Range") or "")
        # "0-0" is what registries say of nothing, too: one byte more is sent again then, never one less.
        return self._location(answer, what), int(received[1]) + 1 if received is not None and received[1] != "0" else 0

    def finish_upload(self, repository: str, location: str, digest: Digest, content: bytes = b"") -> None:
        """End an upload, with its last piece or with all of it. The registry checks the digest."""
        what = f"blob `{digest}` of `{repository}`"
        address = f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        self._change("PUT", address, _pushing(repository), what=what, headers=headers, body=content, fine=(201, 204))

    def cancel_upload(self, repository: str, location: str) -> None:
        """Give up an upload. Not every registry can; they forget it in time."""
        with suppress(NetworkError):
            what = f"an upload to `{repository}`"
            self._change("DELETE", location, _pushing(repository), what=what, fine=(204, 202, 200))

    # --- logins

    def check_login(self) -> None:
        """Ask for nothing in particular. Raises RegistryRefusal when the registry doesn't take our credentials."""
        self._ask("GET", "", what="the login", scopes=()).discard()

    # --- one request

    def _change(
        self,
        method: str,
        path: str,
        scopes: Scopes,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        fine: tuple[int, ...],
    ) -> Answer:
        """The same as `_ask`, of an answer whose status and headers say all."""
        with self._ask(method, path, what=what, headers=headers, body=body, scopes=scopes, fine=fine) as answer:
            answer.discard()
            return answer

    def _head(self, repository: str, path: str, what: str, headers: Mapping[str, str]) -> Answer | None:
        try:
            answer = self._ask("HEAD", f"{repository}/{path}", what=what, headers=headers, scopes=_pulling(repository))
        except NotInRegistry:
            return None
        answer.discard()
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        scopes: Scopes,
        fine: tuple[int, ...] = (200,),
    ) -> Answer:
        """The answer to a request for *path* below `/v2/`, or for a whole address."""
        is_address = path.startswith(("http://", "https://"))
        url = path if is_address else f"{self._base()}/v2/{quote(path, safe='/:@?&=%+~')}"
        answer = self._authorized(method, url, headers or {}, body, scopes)
        if answer.status not in fine:
            self._refuse(answer, what)
        return answer

    def _refuse(self, answer: Answer, what: str) -> NoReturn:
        with answer:
            content = answer.read_all(_ERROR_LIMIT, f"registry `{self.host}`: the error about {what}")
        raise refusal(answer.status, content, host=self.host, what=what, login=self._authority.login)

    def _authorized(self, method: str, url: str, headers: Mapping[str, str], body: Body, scopes: Scopes) -> Answer:
        for attempt in range(3):
            sent = self._authority.header(scopes)
            answer = self._http.follow(
                method, url, headers=headers, body=body, authorization=sent, home=host_of(self._base()), leave_tls=self._insecure
            )
            if answer.status != 401 or attempt == 2:
                break
            secure = self._base().startswith("https:") and not self._insecure
            if not self._authority.challenged(answer.headers("WWW-Authenticate"), scopes, sent=sent, secure=secure):
                break
            if not can_repeat(body):
                break  # the caller's stream is used up
            answer.discard()
        return answer

    def _ask_realm(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return self._http.ask(method, url, headers=headers, body=body)

    def _tls(self, host: str) -> ssl.SSLContext:
        # Where an insecure registry sends us is not insecure.
        return registry_tls(host, self._environ, verify=not self._insecure or host != api_host(self.host))

    def _named(self, url: str) -> str:
        """Who is asked at *url*, in words."""
        host = host_of(url)
        if host == api_host(self.host):
            return f"registry `{self.host}`"
        return f"`{host}`, where registry `{self.host}` sends us"

    def _find_credentials(self) -> Credentials | None:
        return self._given or find_credentials(self.host, self._repository, self._environ)

    def _base(self) -> str:
        """`https://HOST`, without a slash at the end."""
        with self._lock:
            if self._address is None:
                host = api_host(self.host)
                scheme = find_scheme(host, self._http.connections, insecure=self._insecure)
                self._address = f"{scheme}://{host}"
            return self._address

    def _location(self, answer: Answer, what: str) -> str:
        """Where an upload goes on; relative and absolute addresses are both in use."""
        location = answer.header("Location")
        if location is None:
            raise BadContent(f"registry `{self.host}`: the answer to {what} has no `Location`")
        target = urljoin(answer.url, location)
        base = urlsplit(self._base())
        if urlsplit(target).netloc == base.netloc:
            # Behind a proxy that ends TLS a registry may believe that it is spoken to in plain HTTP.
            return urlsplit(target)._replace(scheme=base.scheme).geturl()
        return target


def _pulling(repository: str) -> Scopes:
    return (repository_scope(repository),)


def _pushing(repository: str) -> Scopes:
    return (repository_scope(repository, "pull,push"),)

"""A registry or a network that does what it shouldn't: pulled through where that can be, else refused with a reason."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

import pytest
from loopback_registry import Fault, LoopbackRegistry, Request, errors, loopback_registry

from runtime.errors import BadContent, NetworkError
from runtime.http.client import Patience
from runtime.oci.digest import digest_bytes
from runtime.oci.image_documents import INDEX, MANIFEST
from runtime.oci.reference import Remote
from runtime.registry.client import Registry
from runtime.registry.credentials import Credentials
from runtime.registry.pull import open_remote
from runtime.registry.refusals import NotInRegistry, RegistryRefusal

NOBODY = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
HASTE = Patience(timeout_s=5.0, attempts=4, first_pause_s=0.01)
LAYER_BYTES = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def registry() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        running.put_image("lab/image", "v1", LAYER_BYTES)
        yield running


def pulled(registry: LoopbackRegistry, name: str = "lab/image", tag: str = "v1", *, patience: Patience = HASTE) -> list[bytes]:
    """The layers of an image."""
    reference = Remote(registry.host, name, tag, None)
    with open_remote(reference, architecture="amd64", environ=NOBODY, patience=patience) as source:
        layers = []
        for position in range(len(source.contents.diff_ids)):
            with source.layer(position) as file:
                layers.append(file.read())
        return layers


def broken_after(size: int) -> Fault:
    """Announces all of it, sends *size* bytes, resets the connection."""

    def fault(request: Request) -> bool:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        total = len(LAYER_BYTES)
        part = LAYER_BYTES[start : start + size]
        headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        request.answer(206 if start else 200, part, headers, length=total - start)
        request.reset()
        return True

    return fault


def truncated_after(size: int) -> Fault:
    """Announces all of it, sends *size* bytes, and ends the connection in good order."""

    def fault(request: Request) -> bool:
        request.answer(200, LAYER_BYTES[:size], length=len(LAYER_BYTES))
        request.handler.close_connection = True
        return True

    return fault


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    def fault(request: Request) -> bool:
        request.answer(code, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def layer_requests(registry: LoopbackRegistry) -> list[Request]:
    return [request for request in registry.requests if digest_bytes(LAYER_BYTES) in request.path]


def test_a_layer_goes_on_where_the_connection_was_reset(registry: LoopbackRegistry) -> None:
    registry.faults = [(digest_bytes(LAYER_BYTES), broken_after(1_000_000)), (digest_bytes(LAYER_BYTES), broken_after(500_000))]
    assert [LAYER_BYTES] == pulled(registry)
    first, *others = [request.headers.get("Range") for request in layer_requests(registry)]
    offsets = [int((text or "")[6:-1]) for text in others]
    assert first is None
    assert len(offsets) == 2
    assert 700_000 < offsets[0] <= 1_000_000 < offsets[1] <= 1_500_000


def test_a_body_that_ends_too_early_is_not_taken_for_the_whole(registry: LoopbackRegistry) -> None:
    registry.faults = [(digest_bytes(LAYER_BYTES), truncated_after(2_000_000))]
    assert [LAYER_BYTES] == pulled(registry)
    assert len(layer_requests(registry)) == 2


def test_without_ranges_what_arrived_is_read_again_and_compared(registry: LoopbackRegistry) -> None:
    registry.ranges = False
    registry.faults = [(digest_bytes(LAYER_BYTES), truncated_after(2_000_000))]
    assert [LAYER_BYTES] == pulled(registry)


def test_a_connection_that_always_breaks_is_given_up(registry: LoopbackRegistry) -> None:
    registry.rules = [(digest_bytes(LAYER_BYTES), broken_after(10))]
    with pytest.raises(NetworkError, match=r"breaks off after \d+ of 3000000 bytes"):
        pulled(registry)


def test_a_layer_with_another_digest_is_refused(registry: LoopbackRegistry) -> None:
    registry.blobs[digest_bytes(LAYER_BYTES)] = LAYER_BYTES[:-1] + b"!"
    with pytest.raises(BadContent, match="has digest"):
        pulled(registry)


def test_a_layer_with_another_size_is_refused_before_it_is_read(registry: LoopbackRegistry) -> None:
    registry.blobs[digest_bytes(LAYER_BYTES)] = LAYER_BYTES + b"more"
    with pytest.raises(BadContent, match="has 3000004 bytes at the registry, its manifest names 3000000"):
        pulled(registry)


def test_a_manifest_with_another_digest_is_refused(registry: LoopbackRegistry) -> None:
    digest = registry.put_image("lab/image", "v2", b"other")
    registry.manifests["lab/image", digest] = (MANIFEST, b"{}")
    client = Registry(registry.host, environ=NOBODY, patience=HASTE)
    with pytest.raises(BadContent, match=f"not `{digest}`"):
        client.manifest("lab/image", digest)


def test_two_server_errors_are_waited_out(registry: LoopbackRegistry) -> None:
    registry.faults = [("manifests", status(500)), ("manifests", status(503)), ("blobs", status(502))]
    assert [LAYER_BYTES] == pulled(registry)


def test_server_errors_without_end_are_told(registry: LoopbackRegistry) -> None:
    registry.rules = [("manifests", status(500, errors("UNKNOWN", "disk on fire")))]
    with pytest.raises(RegistryRefusal, match=r"manifest `v1` of `lab/image`: disk on fire \(HTTP 500\)") as told:
        pulled(registry)
    assert 500 == told.value.status
    assert HASTE.attempts == len(registry.paths("manifests"))


def test_retry_after_is_honoured(registry: LoopbackRegistry) -> None:
    registry.faults = [("manifests", status(429, Retry_After="1"))]
    begun = time.monotonic()
    assert [LAYER_BYTES] == pulled(registry)
    assert 1.0 <= time.monotonic() - begun < 3.0


def test_a_registry_that_asks_for_an_hour_is_not_waited_for(registry: LoopbackRegistry) -> None:
    registry.rules = [
        ("manifests", status(429, errors("TOOMANYREQUESTS", "you have reached your pull rate limit"), Retry_After="3600"))
    ]
    with pytest.raises(RegistryRefusal, match="too many requests: you have reached your pull rate limit") as told:
        pulled(registry)
    assert f"launch login {registry.host}" in str(told.value.hint)
    assert 1 == len(registry.paths("manifests"))


def test_a_hanging_registry_is_given_up(registry: LoopbackRegistry) -> None:
    def hang(_: Request) -> bool:
        time.sleep(1)
        return True

    registry.rules = [("manifests", hang)]
    with pytest.raises(NetworkError, match=f"registry `{registry.host}` does not answer within 0.2 s"):
        pulled(registry, patience=Patience(timeout_s=0.2, attempts=2, first_pause_s=0.01))


def test_a_layer_that_stops_arriving_is_asked_for_again(registry: LoopbackRegistry) -> None:
    def stall(request: Request) -> bool:
        request.answer(200, LAYER_BYTES[:1000], length=len(LAYER_BYTES))
        time.sleep(1)
        return True

    registry.faults = [(digest_bytes(LAYER_BYTES), stall)]
    assert [LAYER_BYTES] == pulled(registry, patience=Patience(timeout_s=0.3, attempts=3, first_pause_s=0.01))


def test_nobody_there_is_told_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(NetworkError, match=r"registry `127\.0\.0\.1:1` refuses connections"):
        Registry("127.0.0.1:1", environ=NOBODY).manifest("a", "b")
    assert time.monotonic() - begun < 1.0


def test_credentials_do_not_follow_a_redirect_to_another_host(registry: LoopbackRegistry) -> None:
    """Layers lie in object stores; what lets us into the registry is not theirs to see."""
    with loopback_registry() as elsewhere:
        elsewhere.blobs = dict(registry.blobs)

        def auth(request: Request) -> bool:
            if "Authorization" in request.headers:
                return False
            request.answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
            return True

        def redirect(request: Request) -> bool:
            request.answer(307, b"", {"Location": f"http://{elsewhere.host}{request.path}?signed=1"})
            return True

        registry.rules = [("/v2/", auth), ("blobs", redirect)]
        client = Registry(registry.host, environ=NOBODY, patience=HASTE, credentials=Credentials("u", "p"))
        with client.open_blob("lab/image", digest_bytes(LAYER_BYTES)) as answer:
            assert LAYER_BYTES == answer.read_all(1 << 30, "it")
        assert all("Authorization" not in request.headers for request in elsewhere.requests)
        assert "Authorization" in registry.requests[-1].headers


def test_redirects_without_end_are_refused(registry: LoopbackRegistry) -> None:
    registry.rules = [("manifests", lambda request: bool(request.answer(302, b"", {"Location": request.path})) or True)]
    with pytest.raises(NetworkError, match="redirects too often"):
        pulled(registry)


def test_a_manifest_that_is_too_large_is_not_read(registry: LoopbackRegistry) -> None:
    registry.manifests["lab/image", "v1"] = (MANIFEST, b" " * (5 << 20))
    with pytest.raises(BadContent, match="has more than 4194304 bytes"):
        pulled(registry)


def test_a_web_page_is_no_manifest(registry: LoopbackRegistry) -> None:
    registry.manifests["lab/image", "v1"] = ("text/html; charset=utf-8", b"<html>please log in</html>")
    with pytest.raises(BadContent, match="came as `text/html`, which is no image"):
        pulled(registry)


@pytest.mark.parametrize("label", ["text/plain", "application/json; charset=utf-8", "application/octet-stream"])
def test_a_mislabelled_manifest_says_what_it_is(registry: LoopbackRegistry, label: str) -> None:
    _, content = registry.manifests["lab/image", "v1"]
    registry.manifests["lab/image", "v1"] = (label, content)
    assert [LAYER_BYTES] == pulled(registry)


def test_label_and_document_that_differ_are_refused(registry: LoopbackRegistry) -> None:
    """One document, two meanings (CVE-2021-41190)."""
    _, content = registry.manifests["lab/image", "v1"]
    registry.manifests["lab/image", "v1"] = (INDEX, content)
    with pytest.raises(BadContent, match=re.escape(f"came as `{INDEX}` and says of itself that it is `{MANIFEST}`")):
        pulled(registry)


def test_what_is_not_there_is_named(registry: LoopbackRegistry) -> None:
    with pytest.raises(NotInRegistry, match=f"registry `{registry.host}`: manifest `v9` of `lab/image` is not found") as told:
        pulled(registry, tag="v9")
    assert ("MANIFEST_UNKNOWN",) == told.value.codes


def test_a_blob_that_is_missing_is_named(registry: LoopbackRegistry) -> None:
    del registry.blobs[digest_bytes(LAYER_BYTES)]
    with pytest.raises(NotInRegistry, match=f"blob `{digest_bytes(LAYER_BYTES)}` of `lab/image` is not found"):
        pulled(registry)


def test_connections_are_used_again(registry: LoopbackRegistry) -> None:
    pulled(registry)
    assert 1 == len({request.handler.client_address for request in registry.requests})


def test_a_kept_connection_that_the_server_has_closed_is_no_failure(registry: LoopbackRegistry) -> None:
    client = Registry(registry.host, environ=NOBODY, patience=Patience(timeout_s=5.0, attempts=1))
    assert client.manifest_digest("lab/image", "v1")
    registry.requests[-1].handler.connection.shutdown(2)
    assert client.manifest_digest("lab/image", "v1")

"""Connections that break, requests that are too large, a registry that goes away: overcome, or told in one sentence."""

from __future__ import annotations

import gzip
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from pushed_images import Heard, image_of, layer_of, noise
from registry_server import RegistryServer, Wire, left_in, registry_server, wire_to
from resumable_registry import resumable_registry

from runtime.errors import NetworkError
from runtime.http.client import Patience
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.reference import Remote
from runtime.registry.push import Pushed, push_image
from runtime.store.records import Image
from runtime.store.store import Store

pytestmark = pytest.mark.requires("docker-registry")

MB = 1_000_000
HASTE = Patience(timeout_s=20, attempts=4, first_pause_s=0.02)


def push(image: Image, store: Store, address: str, repository: str, *, observer: Heard | None = None) -> Pushed:
    target = Remote(address, repository, "latest", None)
    environ = {"HOME": "/nonexistent"}
    return push_image(image, store, target, observer=observer or Heard(), environ=environ, patience=HASTE)


def arrived(server: RegistryServer, repository: str, digest: Digest) -> bytes:
    with urllib.request.urlopen(f"http://{server.address}/v2/{repository}/blobs/{digest}") as answer:
        content: bytes = answer.read()
    assert digest_bytes(content) == digest
    return content


def large(store: Store, seed: int) -> Image:
    return image_of(store, [layer_of(store, f"large {seed}", {"a": noise(20 * MB, seed)})])


def test_an_upload_goes_on_where_the_connection_broke(store: Store) -> None:
    image = large(store, 1)
    with resumable_registry() as server, wire_to(server.port) as wire:
        wire.cuts = [8 * MB, 14 * MB]
        pushed = push(image, store, wire.address, "broken/twice")
        blob = server.blobs[pushed.layers[0].descriptor.digest]
        assert digest_bytes(gzip.decompress(blob)) == image.layers[0].diff_id
        assert (wire.cuts, server.begun) == ([], 2)  # the layer and the configuration
        assert wire.count("GET", "/uploads/") >= 2
        # A piece of 8 MiB is what the second break may cost, and the first one nothing but what was under way.
        assert wire.sent_bytes < 20 * MB + 9 * MB


def test_an_upload_that_the_registry_forgot_begins_anew(store: Store) -> None:
    image = large(store, 7)
    with resumable_registry() as server, wire_to(server.port) as wire:
        server.forgets = True
        wire.cuts = [8 * MB]
        pushed = push(image, store, wire.address, "broken/forgotten")
        assert digest_bytes(server.blobs[pushed.layers[0].descriptor.digest]) == pushed.layers[0].descriptor.digest
        assert server.begun == 3


def test_distribution_s_own_registry_gets_the_blob_from_its_beginning(server: RegistryServer, wire: Wire, store: Store) -> None:
    image = large(store, 8)
    wire.cuts = [8 * MB, 20 * MB]
    pushed = push(image, store, wire.address, "broken/distribution")
    content = arrived(server, "broken/distribution", pushed.layers[0].descriptor.digest)
    assert digest_bytes(gzip.decompress(content)) == image.layers[0].diff_id


def test_a_small_blob_is_sent_again_when_the_connection_broke(server: RegistryServer, wire: Wire, store: Store) -> None:
    image = image_of(store, [layer_of(store, "small", {"a": noise(2 * MB, 2)})])
    wire.cuts = [MB]
    pushed = push(image, store, wire.address, "broken/small")
    arrived(server, "broken/small", pushed.layers[0].descriptor.digest)
    assert wire.sent_bytes < 6 * MB


def test_a_proxy_that_takes_only_small_requests_gets_small_ones(server: RegistryServer, wire: Wire, store: Store) -> None:
    image = large(store, 3)
    wire.largest_request = 3 * MB
    pushed = push(image, store, wire.address, "limited/pieces")
    arrived(server, "limited/pieces", pushed.layers[0].descriptor.digest)


def test_a_proxy_that_takes_next_to_nothing_is_named(wire: Wire, store: Store) -> None:
    wire.largest_request = 100_000
    with pytest.raises(NetworkError, match="413"):
        push(large(store, 4), store, wire.address, "limited/nothing")
    assert left_in(store.root / "tmp") == []


def test_a_wire_that_always_breaks_ends_the_push_with_one_sentence(wire: Wire, store: Store) -> None:
    wire.cuts = list(range(5 * MB, 5000 * MB, 100_000))
    begun = time.monotonic()
    with pytest.raises(NetworkError, match=r"registry `127\.0\.0\.1:"):
        push(large(store, 5), store, wire.address, "broken/always")
    assert time.monotonic() - begun < 30
    assert left_in(store.root / "tmp") == []


def test_a_registry_that_vanishes_in_the_middle_is_named(tmp_path: Path, store: Store) -> None:
    with registry_server(tmp_path / "registry") as server:
        gone = threading.Event()

        class Vanishes(Heard):
            def sending(self, label: str, sent_bytes: int, size_bytes: int) -> None:
                if sent_bytes > 5 * MB and not gone.is_set():
                    gone.set()
                    server.stop()

        with pytest.raises(NetworkError, match=f"registry `{server.address}`"):
            push(large(store, 6), store, server.address, "vanishing", observer=Vanishes())
        assert gone.is_set()
        server.start()
        push(large(store, 6), store, server.address, "vanishing")


def test_the_first_failure_stops_the_other_layers(wire: Wire, store: Store) -> None:
    class Interrupts(Heard):
        def layer_pushed(self, *_: object) -> None:
            raise KeyboardInterrupt

    layers = [layer_of(store, f"layer {seed}", {"a": noise(3 * MB, seed)}) for seed in range(20)]
    before = {thread.ident for thread in threading.enumerate()}
    with pytest.raises(KeyboardInterrupt):
        push(image_of(store, layers), store, wire.address, "interrupted", observer=Interrupts())
    assert wire.sent_bytes < 30 * MB
    jobs = [thread for thread in threading.enumerate() if thread.ident not in before and thread.name.startswith("job-")]
    for job in jobs:
        job.join(10.0)
    assert ([], []) == ([job for job in jobs if job.is_alive()], left_in(store.root / "tmp"))

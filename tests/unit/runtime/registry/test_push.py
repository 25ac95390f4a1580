"""An image arrives whole in a real registry, and nothing is sent that is there already."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pushed_images import Heard, image_of, layer_of, noise
from registry_server import RegistryServer, Wire, left_in, registry_server

from runtime.errors import BadContent, NetworkError, StoreError
from runtime.http.client import Patience
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import LAYER, Descriptor
from runtime.oci.reference import Remote, parse_reference
from runtime.registry.compress import Compression
from runtime.registry.known_places import known_blobs, pushes, remember_blob
from runtime.registry.layer_push import How
from runtime.registry.push import Pushed, push_image
from runtime.registry.refusals import RegistryRefusal
from runtime.store.records import Image
from runtime.store.store import Store

pytestmark = pytest.mark.requires("docker-registry")

HASTE = Patience(timeout_s=20, attempts=4, first_pause_s=0.02)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test pushes to."""
    return "t/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


def push(image: Image, store: Store, to: str, **more: Any) -> tuple[Pushed, Heard]:
    target = parse_reference(to)
    assert isinstance(target, Remote)
    heard = Heard()
    pushed = push_image(
        image,
        store,
        target,
        observer=heard,
        environ={"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"},
        patience=HASTE,
        **more,
    )
    assert left_in(store.root / "tmp") == []
    return pushed, heard


def fetched(server: RegistryServer, repository: str, reference: str) -> tuple[dict[str, Any], Digest]:
    request = urllib.request.Request(
        f"http://{server.address}/v2/{repository}/manifests/{reference}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
    )
    with urllib.request.urlopen(request) as answer:
        content = answer.read()
    return json.loads(content), digest_bytes(content)


def blob(server: RegistryServer, repository: str, digest: str) -> bytes:
    with urllib.request.urlopen(f"http://{server.address}/v2/{repository}/blobs/{digest}") as answer:
        content: bytes = answer.read()
    assert digest_bytes(content) == digest
    return content


def two_layers(store: Store, seed: int = 1) -> Image:
    return image_of(
        store,
        [layer_of(store, "base", {"a": noise(300_000, seed)}), layer_of(store, "code", {"b": b"print()\n" * seed})],
        command=["/a"],
    )


def test_every_layer_of_a_pushed_image_is_what_the_configuration_says(
    server: RegistryServer, store: Store, repository: str
) -> None:
    image = two_layers(store)
    pushed, heard = push(image, store, f"{server.address}/{repository}:v1")
    manifest, digest = fetched(server, repository, "v1")
    assert (pushed.digest, pushed.reference) == (digest, Remote(server.address, repository, "v1", digest))
    config = json.loads(blob(server, repository, manifest["config"]["digest"]))
    assert manifest["config"]["digest"] == image.manifest["config"]["digest"]
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        content = blob(server, repository, layer["digest"])
        assert (layer["mediaType"], layer["size"]) == (f"{LAYER}+gzip", len(content))
        assert digest_bytes(gzip.decompress(content)) == diff_id
    assert heard.how() == {"base": How.SENT, "code": How.SENT}
    assert pushed.sent_bytes == sum(layer["size"] for layer in manifest["layers"]) + manifest["config"]["size"]


def test_a_second_push_compresses_nothing_and_sends_nothing(
    server: RegistryServer, wire: Wire, store: Store, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = two_layers(store)
    first, _ = push(image, store, f"{wire.address}/{repository}")
    wire.reset()
    monkeypatch.setattr("runtime.registry.compress._deflate", lambda *_: pytest.fail("compressed again"))
    second, heard = push(image, store, f"{wire.address}/{repository}")
    assert (second.digest, second.sent_bytes, second.is_new) == (first.digest, 0, False)
    assert heard.how() == {"base": How.THERE, "code": How.THERE}
    assert (wire.count("PUT"), wire.count("POST"), wire.count("PATCH"), wire.count("GET")) == (0, 0, 0, 1)  # GET /v2/
    assert wire.sent_bytes < 4096


def test_another_tag_costs_a_manifest_and_no_layer(wire: Wire, store: Store, repository: str) -> None:
    image = two_layers(store)
    push(image, store, f"{wire.address}/{repository}:one")
    wire.reset()
    pushed, _ = push(image, store, f"{wire.address}/{repository}:two")
    assert (pushed.sent_bytes, pushed.is_new) == (0, True)
    assert wire.count("PUT") == wire.count("PUT", "/manifests/two") == 1


def test_the_manifest_goes_last(wire: Wire, store: Store, repository: str) -> None:
    push(two_layers(store), store, f"{wire.address}/{repository}")
    assert wire.requests[-1].startswith("PUT /")
    assert "/manifests/" in wire.requests[-1]
    assert wire.count("PUT", "/manifests/") == 1


def test_one_changed_layer_is_all_that_a_push_sends(wire: Wire, store: Store, repository: str) -> None:
    base, large = layer_of(store, "base", {"a": noise(400_000, 1)}), layer_of(store, "large", {"l": noise(2_000_000, 2)})
    push(image_of(store, [base, large, layer_of(store, "code", {"c": b"1"})]), store, f"{wire.address}/{repository}")
    wire.reset()
    small = layer_of(store, "small", {"s": noise(50_000, 3)})
    pushed, heard = push(
        image_of(store, [base, large, small, layer_of(store, "code", {"c": b"2"})]), store, f"{wire.address}/{repository}"
    )
    assert {label for label, how in heard.how().items() if how is How.SENT} == {"small", "code"}
    size = heard.layers["small"].descriptor.size
    assert wire.sent_bytes <= size + 64 * 1024
    assert pushed.sent_bytes <= size + 4096


def test_a_layer_of_another_repository_of_the_registry_is_mounted(wire: Wire, store: Store, repository: str) -> None:
    image = two_layers(store)
    push(image, store, f"{wire.address}/{repository}/one")
    wire.reset()
    pushed, heard = push(image, store, f"{wire.address}/{repository}/two")
    assert heard.how() == {"base": How.MOUNTED, "code": How.MOUNTED}
    assert wire.count("PATCH") == 0
    assert pushed.sent_bytes == image.manifest["config"]["size"]  # the configuration: no layer is as small


def test_an_imported_layer_is_mounted_from_where_it_was_pulled(
    server: RegistryServer, wire: Wire, store: Store, repository: str, tmp_path: Path
) -> None:
    """What `import_image` does after a pull: it remembers the blob, here one that another tool compressed otherwise."""
    image = two_layers(store)
    other = Store(tmp_path / "other").ensure()
    pushed, _ = push(two_layers(other), other, f"{wire.address}/{repository}/origin", compression=Compression.ZSTD)
    for layer in pushed.layers:
        remember_blob(store, layer.diff_id, layer.descriptor, registry=wire.address, repository=f"{repository}/origin")
    wire.reset()
    mine, heard = push(image, store, f"{wire.address}/{repository}/mine")
    assert heard.how() == {"base": How.MOUNTED, "code": How.MOUNTED}
    assert mine.digest == pushed.digest
    assert wire.count("PATCH") == 0
    manifest, _ = fetched(server, f"{repository}/mine", "latest")
    assert {layer["mediaType"] for layer in manifest["layers"]} == {f"{LAYER}+zstd"}


def test_a_store_that_knows_nothing_sends_nothing_that_is_there(
    wire: Wire, store: Store, repository: str, tmp_path: Path
) -> None:
    """Another machine pushed the same image: compression is the same everywhere, so the digest tells."""
    push(two_layers(store), store, f"{wire.address}/{repository}")
    wire.reset()
    fresh = Store(tmp_path / "fresh").ensure()
    pushed, heard = push(two_layers(fresh), fresh, f"{wire.address}/{repository}")
    assert heard.how() == {"base": How.THERE, "code": How.THERE}
    assert (pushed.sent_bytes, wire.count("POST")) == (0, 0)


def test_a_blob_that_the_registry_lost_is_sent_again(server: RegistryServer, wire: Wire, store: Store, repository: str) -> None:
    image = two_layers(store)
    first, _ = push(image, store, f"{wire.address}/{repository}")
    lost = first.layers[0]
    request = urllib.request.Request(f"http://{server.address}/v2/{repository}/blobs/{lost.descriptor.digest}", method="DELETE")
    with urllib.request.urlopen(request):
        pass
    pushed, heard = push(image, store, f"{wire.address}/{repository}")
    assert heard.how() == {"base": How.SENT, "code": How.THERE}
    assert pushed.digest == first.digest
    blob(server, repository, lost.descriptor.digest)


def test_what_was_known_of_a_lender_that_lost_the_blob_is_forgotten(wire: Wire, store: Store, repository: str) -> None:
    image = two_layers(store)
    layer = image.layers[0]
    gone = Descriptor(f"{LAYER}+gzip", digest_bytes(b"never was there"), 15)
    remember_blob(store, layer.diff_id, gone, registry=wire.address, repository=f"{repository}/gone")
    _, heard = push(image, store, f"{wire.address}/{repository}")
    assert heard.how()["base"] is How.SENT
    assert [blob.places for blob in known_blobs(store, layer.diff_id) if blob.descriptor == gone] == [()]


@pytest.mark.parametrize("how", list(Compression))
def test_a_compression_that_is_asked_for_holds_for_every_layer(
    server: RegistryServer, store: Store, repository: str, how: Compression
) -> None:
    image = two_layers(store)
    push(image, store, f"{server.address}/{repository}:first")
    pushed, _ = push(image, store, f"{server.address}/{repository}", compression=how)
    manifest, digest = fetched(server, repository, "latest")
    assert pushed.digest == digest
    assert {layer["mediaType"] for layer in manifest["layers"]} == {how.media_type}


def test_a_layer_that_is_there_in_another_form_is_not_sent_again_unless_a_form_is_asked_for(
    server: RegistryServer, store: Store, repository: str
) -> None:
    image = two_layers(store)
    first, _ = push(image, store, f"{server.address}/{repository}", compression=Compression.ZSTD)
    assert push(image, store, f"{server.address}/{repository}")[0].digest == first.digest
    forced, heard = push(image, store, f"{server.address}/{repository}", compression=Compression.GZIP)
    assert (forced.digest != first.digest, set(heard.how().values())) == (True, {How.SENT})


def test_two_equal_layers_are_sent_once(server: RegistryServer, store: Store, repository: str) -> None:
    one, two = layer_of(store, "one", {"a": b"same"}), layer_of(store, "two", {"a": b"same"})
    assert one.diff_id == two.diff_id
    push(image_of(store, [one, two]), store, f"{server.address}/{repository}")
    manifest, _ = fetched(server, repository, "latest")
    assert len({layer["digest"] for layer in manifest["layers"]}) == 1
    assert len(manifest["layers"]) == 2


def test_a_push_is_recorded_beside_the_image(server: RegistryServer, store: Store, repository: str) -> None:
    image = two_layers(store)
    for tag in ("one", "two", "one"):
        push(image, store, f"{server.address}/{repository}:{tag}")
    recorded = pushes(image, store)
    manifest, digest = fetched(server, repository, "one")
    assert [entry["reference"] for entry in recorded] == [f"{server.address}/{repository}:{tag}" for tag in ("one", "two")]
    assert (recorded[0]["manifest"], recorded[0]["manifest_digest"]) == (manifest, digest)


def test_a_damaged_layer_is_not_pushed(server: RegistryServer, store: Store, repository: str) -> None:
    image = two_layers(store)
    file = store.layer_dir(image.layers[0]) / "a"
    file.write_bytes(noise(300_000, 99))
    with pytest.raises(StoreError, match=r"layer .* is damaged") as caught:
        push(image, store, f"{server.address}/{repository}")
    assert "launch store check" in (caught.value.hint or "")
    assert left_in(store.root / "tmp") == []
    with pytest.raises(urllib.error.HTTPError):
        fetched(server, repository, "latest")


def test_a_digest_is_no_place_to_push_to(store: Store) -> None:
    with pytest.raises(BadContent, match="under a tag"):
        push(two_layers(store), store, f"127.0.0.1:1/a@{digest_bytes(b'x')}")


def test_a_registry_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NetworkError, match=r"registry `127\.0\.0\.1:1` refuses connections"):
        push(two_layers(store), store, "127.0.0.1:1/a")


@pytest.mark.requires("htpasswd")
def test_whoever_is_not_logged_in_is_told_how(tmp_path: Path, store: Store) -> None:
    with registry_server(tmp_path / "registry", login=("ci", "s3cret")) as server:
        with pytest.raises(RegistryRefusal, match="refused without a login") as caught:
            push(two_layers(store), store, f"{server.address}/a")
    assert f"launch login {server.address}" in (caught.value.hint or "")


@pytest.mark.requires("skopeo")
@pytest.mark.parametrize("how", list(Compression))
def test_skopeo_copies_it_and_finds_every_digest_right(
    server: RegistryServer, store: Store, repository: str, tmp_path: Path, how: Compression
) -> None:
    push(two_layers(store), store, f"{server.address}/{repository}", compression=how)
    source = f"docker://{server.address}/{repository}:latest"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{tmp_path / 'layout'}:x"],
        check=True,
        capture_output=True,
        timeout=60,
    )

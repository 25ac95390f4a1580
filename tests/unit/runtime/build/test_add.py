"""ADD, and the text of here-documents: files from an address, and archives that are unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from copied import NEW, context, copy, directory, entries, layer, link, text

from runtime.build.plan import CopyFiles, FetchedFile, InlineFiles
from runtime.errors import BadContent, BuildError, NetworkError
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.store import Store


@pytest.fixture
def served() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """A function that serves files from loopback: path → content; the address."""
    servers = []

    def serve(files: dict[str, bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_words: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_here_documents_become_files(store: Store) -> None:
    made = copy(store, CopyFiles(InlineFiles((("run.sh", "#!/bin/sh\n"), ("é", ""))), "/bin/", mode=0o755))
    assert {"bin": NEW, "bin/run.sh": ("file", 0o755, 0, 0), "bin/é": ("file", 0o755, 0, 0)} == entries(store, made)
    assert "#!/bin/sh\n" == text(store, made, "bin/run.sh")


def test_a_file_from_an_address_is_fetched_once_and_checked(store: Store, served: Callable[[dict[str, bytes]], str]) -> None:
    address = served({"/model.bin": b"weights"})
    fetched = FetchedFile(f"{address}/model.bin", digest_bytes(b"weights"), "model.bin")
    made = copy(store, CopyFiles(fetched, "/opt/"))
    assert ("weights", ("file", 0o600, 0, 0)) == (text(store, made, "opt/model.bin"), entries(store, made)["opt/model.bin"])
    copy(store, CopyFiles(replace(fetched, url="http://127.0.0.1:1/gone"), "/elsewhere/"))  # it is a blob of the store now

    with pytest.raises(BadContent, match="is not what the checksum says"):
        copy(store, CopyFiles(replace(fetched, digest=digest_bytes(b"other")), "/x/"))
    with pytest.raises(NetworkError, match="does not exist"):
        copy(store, CopyFiles(FetchedFile(f"{address}/none", digest_bytes(b"none"), "none"), "/x/"))


# Archives


def archive(*members: tuple[str, str, str]) -> bytes:
    """A tar of (name, type, content or link)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.uid, member.gid, member.mtime, member.mode = 3, 4, 1_000_000_000, 0o750
            if kind == "dir":
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
    return made.getvalue()


def zstd(content: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


MEMBERS = (("top", "dir", ""), ("top/a", "file", "A"), ("top/l", "link", "a"), ("bin/tool", "file", "T"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd], ids=lambda pack: pack.__name__)
def test_an_archive_is_unpacked_whatever_its_name_and_compression(
    store: Store, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "data").write_bytes(pack(archive(*MEMBERS)))
    made = copy(store, CopyFiles(context(tmp_path, "data", single=True), "/x", unpack=True))
    found = entries(store, made)
    assert {"x", "x/top", "x/top/a", "x/top/l", "x/bin", "x/bin/tool"} == set(found)
    assert (("file", 0o750, 3, 4), "A") == (found["x/top/a"], text(store, made, "x/top/a"))


def test_an_archive_goes_through_links_of_the_layers_below(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("usr"), directory("usr/bin"), link("bin", "usr/bin"))
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "data").write_bytes(archive(("bin", "dir", ""), ("bin/tool", "file", "T")))
    made = copy(store, CopyFiles(context(tmp_path, "data", single=True), "/", unpack=True, owner="1"), [base])
    assert {"usr": NEW, "usr/bin": ("dir", 0o750, 3, 4), "usr/bin/tool": ("file", 0o750, 3, 4)} == entries(store, made)


def test_files_of_an_archive_keep_their_owner_and_mode_whoever_the_directory_is_given_to(store: Store, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "data").write_bytes(archive(("a", "file", "A")))
    made = copy(store, CopyFiles(context(tmp_path, "data", single=True), "/x/y", unpack=True, owner="7:8", mode=0o711))
    assert {"x": ("dir", 0o755, 7, 8), "x/y": ("dir", 0o755, 7, 8), "x/y/a": ("file", 0o750, 3, 4)} == entries(store, made)


def test_without_unpack_an_archive_is_a_file_and_a_file_is_no_archive(store: Store, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "data").write_bytes(archive(*MEMBERS))
    assert {"x"} == set(entries(store, copy(store, CopyFiles(context(tmp_path, "data", single=True), "/x"))))
    for name, content in (
        ("empty", b""),
        ("zeros", bytes(2048)),
        ("gz", gzip.compress(b"text")),
        ("broken", b"\x1f\x8b\x08broken"),
    ):
        (tmp_path / "context" / name).write_bytes(content)
        made = copy(store, CopyFiles(context(tmp_path, name, single=True), f"/{name}", unpack=True))
        assert content == (store.layer_dir(made) / name).read_bytes()


def test_each_of_several_archives_is_unpacked(store: Store, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    for name in ("one", "two"):
        (tmp_path / "context" / name).write_bytes(archive((f"of-{name}", "file", name)))
    made = copy(store, CopyFiles(context(tmp_path, "one", "plain", "two"), "/x/", unpack=True))
    assert {"x", "x/of-one", "x/plain", "x/of-two"} == set(entries(store, made))


@pytest.mark.parametrize(
    "members",
    [
        pytest.param((("../out", "file", "x"),), id="a name that climbs out"),
        pytest.param((("l", "link", "/etc"), ("l", "dir", "")), id="a directory in the place of a link"),
        pytest.param(((".wh.gone", "file", ""),), id="a deletion mark"),
    ],
)
def test_a_hostile_archive_is_refused(store: Store, tmp_path: Path, members: tuple[tuple[str, str, str], ...]) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "data").write_bytes(archive(*members))
    with pytest.raises((BadContent, BuildError), match=r"the archive (of `ADD data|has a layer's deletion)"):
        copy(store, CopyFiles(context(tmp_path, "data", single=True), "/x", unpack=True, label="ADD data /x"))

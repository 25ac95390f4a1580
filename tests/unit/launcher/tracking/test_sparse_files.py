"""A file with holes costs what its data cost, whatever its length."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.tracking.mlflow.artifacts import pending
from launcher.tracking.mlflow.description import Description
from launcher.tracking.record.record_files import output_digests
from launcher.tracking.record.sparse_files import HOLES_MAX, copy_sparse, data_of_sparse, digest_output
from runtime.oci.digest import digest_bytes
from runtime.state_dir import RunDir

EIGHT_TB = 8 << 40


def sparse(path: Path, *, size: int = EIGHT_TB, data: dict[int, bytes] | None = None) -> Path:
    with path.open("wb") as file:
        for place, content in (data or {}).items():
            os.pwrite(file.fileno(), content, place)
        file.truncate(size)
    return path


@pytest.fixture
def map_of_8_tb(tmp_path: Path) -> Path:
    """As LMDB leaves one behind that was opened with a large `map_size`."""
    return sparse(tmp_path / "data.mdb", data={0: b"meta", 3 << 40: b"page" * 5000})


def test_a_file_of_8_tb_that_costs_no_disk_costs_no_time(map_of_8_tb: Path, tmp_path: Path) -> None:
    """Neither its digest nor its copy: at a gigabyte a second either would take hours."""
    assert digest_output(map_of_8_tb).startswith("sparse-sha256:")
    copy_sparse(map_of_8_tb, tmp_path / "copy")
    copied = (tmp_path / "copy").stat()
    assert EIGHT_TB == copied.st_size
    assert copied.st_blocks * 512 < 1 << 20
    assert digest_output(map_of_8_tb) == digest_output(tmp_path / "copy")


def test_its_digest_is_that_of_its_content_wherever_the_holes_are(tmp_path: Path) -> None:
    one = sparse(tmp_path / "one", data={1 << 40: b"x"})
    other = sparse(tmp_path / "other", data={0: bytes(1 << 20), 1 << 40: b"x", 2 << 40: bytes(5000)})
    assert one.stat().st_blocks < other.stat().st_blocks
    assert digest_output(one) == digest_output(other)


@pytest.mark.parametrize(
    ("size", "data"),
    [
        pytest.param(EIGHT_TB, {1 << 40: b"y"}, id="another byte"),
        pytest.param(EIGHT_TB, {(1 << 40) + (1 << 16): b"x"}, id="at another place"),
        pytest.param(EIGHT_TB + 1, {1 << 40: b"x"}, id="of another length"),
        pytest.param(EIGHT_TB, {}, id="nothing"),
    ],
)
def test_files_that_differ_have_different_digests(tmp_path: Path, size: int, data: dict[int, bytes]) -> None:
    assert digest_output(sparse(tmp_path / "one", data={1 << 40: b"x"})) != digest_output(
        sparse(tmp_path / "other", size=size, data=data)
    )


def test_other_files_have_their_sha256_as_ever(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    sparse(tmp_path / "small.bin", size=1 << 20, data={5: b"x"})
    assert None is data_of_sparse(tmp_path / "small.bin")
    assert {
        "model.bin": str(digest_bytes(b"weights")),
        "small.bin": str(digest_bytes(b"\0" * 5 + b"x" + bytes((1 << 20) - 6))),
    } == output_digests(tmp_path)


def test_a_copy_is_the_same_to_the_last_byte(tmp_path: Path) -> None:
    made = sparse(tmp_path / "made", size=(1 << 20) + 7, data={0: b"begin", 700_000: b"middle", (1 << 20) + 4: b"end"})
    copy_sparse(made, tmp_path / "copy")
    assert made.read_bytes() == (tmp_path / "copy").read_bytes()


def test_a_server_of_the_users_is_not_sent_terabytes_of_zeros(run_dir: RunDir) -> None:
    run_dir.outputs.mkdir()
    sparse(run_dir.outputs / "data.mdb", size=2 * HOLES_MAX, data={0: b"meta"})
    (run_dir.outputs / "model.bin").write_bytes(b"weights")
    refused: list[str] = []
    sent = {}
    for uri in (None, "http://127.0.0.1:9"):
        described = Description("digits", "digits", "ada", 0, uri=uri)
        found = {upload.path for upload in pending(run_dir, described, sent={}, refused=refused.append)}
        sent[uri] = found & {"data.mdb", "model.bin"}
    assert {None: {"data.mdb", "model.bin"}, "http://127.0.0.1:9": {"model.bin"}} == sent
    assert [f"`data.mdb` is not sent: 2.1 GB, of which 4.1 KB are data; it stays in `{run_dir.outputs}`"] == refused

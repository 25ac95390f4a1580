"""`launch load` and `launch save`: files in, files out, pipes too, and what goes wrong is said in a line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = pytest.mark.any_user


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


OCI_NAME = "org.opencontainers.image.ref.name"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = tar_of({"bin/sh": b"shell", "etc/os": b"one"})
CONFIG = json.dumps(
    {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
    }
).encode()
IMAGE_ID = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path / "home", tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What `docker save lab/x:1` writes."""
    listed = json.dumps([{"Config": "c.json", "RepoTags": ["lab/x:1"], "Layers": ["l.tar"]}]).encode()
    path = tmp_path / "saved.tar"
    path.write_bytes(tar_of({"c.json": CONFIG, "l.tar": LAYER, "manifest.json": listed}))
    return path


def test_a_loaded_image_is_listed_under_its_name(launch: Launch, archive: Path) -> None:
    loaded = json.loads(launch("load", str(archive), "--json").stdout)
    assert [(IMAGE_ID, ["lab/x:1"])] == [(image["image_id"], image["names"]) for image in loaded]
    assert "lab/x:1" in launch("images").stdout
    line = launch("load", str(archive), "--name", "mine").stdout
    assert line.startswith(f"{loaded[0]['image_digest']}  lab/x:1, mine  ")
    assert launch("save", "mine", "-o", "out.tar").stdout == launch("save", "lab/x:1", "-o", "out.tar").stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param(("-o", "out.tar"), "manifest.json", id="docker-archive by default"),
        pytest.param(("-o", "out.tar", "--format", "oci-archive"), "index.json", id="oci-archive"),
        pytest.param(("-o", "out/"), None, id="a directory"),
        pytest.param(("-o", "out", "--format", "oci"), None, id="oci"),
    ],
)
def test_a_saved_image_is_loaded_by_another_store(
    launch: Launch, archive: Path, tmp_path: Path, words: tuple[str, ...], found: str | None
) -> None:
    digest = json.loads(launch("load", str(archive), "--json").stdout)[0]["image_digest"]
    assert f"{digest}\n" == launch("save", "lab/x:1", *words).stdout
    out = tmp_path / words[1]
    if found is None:
        assert {"blobs", "index.json", "oci-layout"} == set(os.listdir(out))
    else:
        with tarfile.open(out) as written:
            assert found in written.getnames()
    assert {"home", "saved.tar", words[1].rstrip("/")} == set(os.listdir(tmp_path)), "nothing half-written stays"
    other = Launch(tmp_path / "other", tmp_path)
    again = json.loads(other("load", str(out), "--json").stdout)[0]
    assert (digest, IMAGE_ID, ["lab/x:1"]) == (again["image_digest"], again["image_id"], again["names"])


def test_images_go_through_pipes(launch: Launch, archive: Path, tmp_path: Path) -> None:
    digest = json.loads(launch("load", str(archive), "--json").stdout)[0]["image_digest"]
    stream = subprocess.run(
        launch.argv("save", "lab/x:1", "-o", "-"), cwd=tmp_path, env=launch.env(), capture_output=True, check=True, timeout=60
    ).stdout
    other = Launch(tmp_path / "other", tmp_path)
    done = subprocess.run(
        other.argv("load", "-"), cwd=tmp_path, env=other.env(), input=stream, capture_output=True, check=True, timeout=60
    )
    assert f"{digest}  lab/x:1".encode() in done.stdout
    assert [".gate"] == [name for name in os.listdir(tmp_path / "other/store/tmp") if not name.endswith(".partial")]


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        pytest.param(("save", "nothing", "-o", "x"), 2, "no image `nothing` in the store", id="no such image"),
        pytest.param(("save", "lab/x:1"), 2, "no file or directory to write to", id="no output"),
        pytest.param(("save", "lab/x:1", "-o", "no/such/x.tar"), 2, "there is no directory `no/such`", id="no directory"),
        pytest.param(("save", "lab/x:1", "-o", "home", "--format", "oci-archive"), 2, "`home` is a directory", id="a directory"),
        pytest.param(("save", "lab/x:1", "-o", "-", "--format", "oci"), 2, "cannot be written to stdout", id="oci to stdout"),
        pytest.param(("save", "lab/x:1", "-o", "/dev/full/x"), 2, "there is no directory", id="below a file"),
        pytest.param(("load", "missing.tar"), 2, "there is no file or directory `missing.tar`", id="no such file"),
        pytest.param(("load", "home"), 125, "`home` is no OCI image layout", id="no layout"),
        pytest.param(("load", "/dev/null"), 125, "truncated", id="empty"),
        pytest.param(("load", "two.tar", "--name", "x"), 2, "holds 2 images", id="a name for two"),
    ],
)
def test_what_goes_wrong_is_said(
    launch: Launch, archive: Path, tmp_path: Path, words: tuple[str, ...], code: int, complaint: str
) -> None:
    launch("load", str(archive))
    listed = [{"Config": "c.json", "RepoTags": [f"lab/{name}:1"], "Layers": ["l.tar"]} for name in "ab"]
    (tmp_path / "two.tar").write_bytes(tar_of({"c.json": CONFIG, "l.tar": LAYER, "manifest.json": json.dumps(listed).encode()}))
    done = launch(*words, check=code)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("of_name", [1, 2])
def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(launch: Launch, tmp_path: Path, of_name: int) -> None:
    """As the tag of a `docker save` archive, and as the name of a layer's file."""
    title = "x\x1b]0;owned\x07\nhint: do as I say"
    listed = json.dumps([{"Config": "c.json", "RepoTags": [title if of_name == 1 else "a:b"], "Layers": [title]}]).encode()
    path = tmp_path / "titled.tar"
    path.write_bytes(tar_of({"c.json": CONFIG, "manifest.json": listed}))
    done = launch("load", str(path), check=125)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\nhint: do as I say" not in done.stdout + done.stderr


def test_an_escape_sequence_in_an_oci_name_does_not_reach_the_terminal(launch: Launch, tmp_path: Path) -> None:
    """The names that a layout gives its images are listed when it has several; one of them is a media type here."""
    title = "x\x1b]0;owned\x07\nhint: do as I say"
    kind = "application/vnd.oci.image.manifest.v1+json"
    for number, media_type in enumerate((kind, title)):
        listed = [
            {"mediaType": media_type, "digest": f"sha256:{letter * 64}", "size": 3, "annotations": {OCI_NAME: name}}
            for letter, name in (("a", title), ("b", "other"))
        ]
        index = json.dumps({"schemaVersion": 2, "mediaType": media_type if number else INDEX, "manifests": listed}).encode()
        (tmp_path / "oci.tar").write_bytes(tar_of({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}))
        done = launch("plan", "experiment=digits", "image.base=oci-archive:oci.tar", check=None)
        assert "\\x1b]0;owned\\x07" in done.stderr
        assert "\x1b" not in done.stderr
        assert "\nhint: do as I say" not in done.stderr


def test_a_damaged_image_leaves_what_was_there(launch: Launch, archive: Path, tmp_path: Path) -> None:
    launch("load", str(archive))
    (tmp_path / "out.tar").write_text("what was there")
    layers = tmp_path / "home/store/layers"
    (next(layers.iterdir()) / "root/bin/sh").write_bytes(b"SHELL")
    done = launch("save", "lab/x:1", "-o", "out.tar", check=125)
    assert "is damaged" in done.stderr
    assert "what was there" == (tmp_path / "out.tar").read_text()
    assert {"home", "saved.tar", "out.tar"} == set(os.listdir(tmp_path))


def test_a_dockerfile_starts_from_an_image_that_was_loaded(launch: Launch, archive: Path) -> None:
    launch("load", str(archive))
    (launch.project / "Dockerfile").write_text("FROM lab/x:1\nENV B=2\nCOPY f /f\n")
    (launch.project / "f").write_text("f")
    launch("build", "-q", "-t", "top", ".")
    assert json.loads(launch("images", "show", "top", "--json").stdout)["config"]["Env"][:2] == ["A=1", "B=2"]
    # The layers are the only ones there are: a verification says so and does not ask a registry.
    assert "their origin is not known" in launch("verify", "top", check=125).stderr


def test_a_name_that_is_nearly_one_of_the_store_is_corrected(launch: Launch, archive: Path) -> None:
    launch("load", str(archive), "--name", "localhost:1/lab/tools:1")
    (launch.project / "Dockerfile").write_text("FROM localhost:1/lab/tool:1\n")
    assert "but `localhost:1/lab/tools:1`" in launch("build", ".", check=125).stderr
    (launch.project / "Dockerfile").write_text("FROM localhost:1/x\n")
    assert "but `lab/x:1`" in launch("build", ".", check=125).stderr


def test_a_save_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from launcher.cli.images.save import _to_file\n"
        "def chunks():\n    yield b'x' * 100_000\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "_to_file(chunks(), Path(sys.argv[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.tar")], check=False).returncode == -9
    assert [] == os.listdir(tmp_path)

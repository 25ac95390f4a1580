"""The directory of a written Dockerfile: complete or not there, never over something else. And what needs no command to make."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from launcher.errors import ConfigError, LaunchError
from launcher.plan.dockerfile_export.export import Exported, check_directory, export_dockerfile
from runtime.build.builder import build
from runtime.build.plan import (
    BuildPlan,
    ContextFiles,
    CopyFiles,
    CopyIn,
    FetchedFile,
    ImageConfig,
    InlineFiles,
    MakeDirectory,
    StageFiles,
)
from runtime.errors import BuildError
from runtime.oci.digest import digest_bytes
from runtime.store.records import Image, Layer
from runtime.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").ensure()


def code(tmp_path: Path) -> CopyIn:
    root = tmp_path / "code"
    root.mkdir(exist_ok=True)
    (root / "train.py").write_text("print()\n")
    (root / "train.py").chmod(0o600)
    digest = hashlib.sha256(b"print()\n").hexdigest()
    return CopyIn(str(root), (("train.py", 0o755, digest),), "/workspace", digest_bytes(b"snapshot"))


def export(plan: BuildPlan, store: Store, directory: Path, image: Image | None = None) -> Exported:
    def none(number: int) -> tuple[Layer, ...]:
        return build(BuildPlan(plan.stages[number], ImageConfig()), store).image.layers

    made = image or build(plan, store).image
    return export_dockerfile(plan, made, store, directory=directory, name="n", command=("train",), stage_layers=none)


def instructions(directory: Path) -> list[str]:
    lines = (directory / "Dockerfile").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_code_is_a_folder_with_the_modes_that_it_gets(tmp_path: Path, store: Store) -> None:
    out = tmp_path / "out"
    done = export(BuildPlan((code(tmp_path),), ImageConfig(env={"A": "b c"})), store, out)
    assert ["FROM scratch", "COPY code/ /workspace/", 'ENV A="b c"', "WORKDIR /workspace", 'CMD ["train"]'] == instructions(out)
    assert 0o755 == (out / "code/train.py").stat().st_mode & 0o777
    assert (out, 0, 8) == (done.directory, done.archives, done.size_bytes)


def test_copies_and_stages_are_written_as_they_were_meant(tmp_path: Path, store: Store) -> None:
    text = InlineFiles((("a", "hello\n"), ("b", "")))
    stage = (CopyFiles(text, "/from/", label="texts"),)
    digest = hashlib.sha256(b"print()\n").hexdigest()
    files = ContextFiles(
        code(tmp_path).source, (("train.py", "sub/train.py", 0o644, digest), ("empty", "empty", 0o040755, "")), False
    )
    steps = (
        MakeDirectory("/made/deep"),
        CopyFiles(StageFiles(0, ("from/*",)), "/to/", owner="3:4"),
        CopyFiles(files, "/all", mode=0o640),
    )
    export(BuildPlan(steps, ImageConfig(workdir="/"), stages=(stage,)), store, tmp_path / "out")
    assert [
        "FROM scratch AS stage0",
        "COPY texts/a texts/b /from/",
        "FROM scratch",
        "WORKDIR /made/deep",
        "COPY --from=stage0 --chown=3:4 /from/* /to/",
        "COPY --chmod=0640 files/ /all/",
        "WORKDIR /",
        'CMD ["train"]',
    ] == instructions(tmp_path / "out")
    assert (tmp_path / "out/files/empty").is_dir()


def test_what_only_our_builder_can_make_comes_as_an_archive(tmp_path: Path, store: Store) -> None:
    digest, _ = store.put_blob([b"fetched"])
    plan = BuildPlan((CopyFiles(FetchedFile("http://127.0.0.1:1/a", digest, "a"), "/opt/", mode=0o600),), ImageConfig())
    export(plan, store, tmp_path / "out")
    (add,) = [line for line in instructions(tmp_path / "out") if line.startswith("ADD")]
    with tarfile.open(tmp_path / "out" / add.split()[1]) as archive:
        assert ["opt", "opt/a"] == archive.getnames()


@pytest.mark.parametrize("kind", ["a file in it", "a file", "a link"])
def test_nothing_is_written_over_anything(kind: str, tmp_path: Path, store: Store) -> None:
    out = tmp_path / "out"
    if kind == "a file in it":
        out.mkdir()
        (out / "mine").touch()
    elif kind == "a file":
        out.touch()
    else:
        out.symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        check_directory(out)
    with pytest.raises(ConfigError):
        export(BuildPlan((code(tmp_path),), ImageConfig()), store, out)


def test_an_empty_directory_may_be_there(tmp_path: Path, store: Store) -> None:
    (tmp_path / "out").mkdir()
    export(BuildPlan((code(tmp_path),), ImageConfig()), store, tmp_path / "out")
    assert (tmp_path / "out/Dockerfile").is_file()


def test_what_fails_leaves_nothing(tmp_path: Path, store: Store) -> None:
    plan = BuildPlan((code(tmp_path),), ImageConfig())
    image = build(plan, store).image
    (tmp_path / "code/train.py").write_text("changed")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BuildError, match="changed while it was written"):
        export(plan, store, tmp_path / "out", image)
    assert before == sorted(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, store: Store) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=r"file"):
        export(BuildPlan((code(tmp_path),), ImageConfig()), store, tmp_path / "file/out")

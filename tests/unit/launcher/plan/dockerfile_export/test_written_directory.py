"""The directory of a written Dockerfile: complete or not there, never over something else. And what needs no command to make."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from launcher.errors import ConfigError, LaunchError
from launcher.plan.dockerfile_export.export import ExportedDockerfile, check_directory, export_dockerfile
from launcher.plan.dockerfile_export.stage_text import MOST_LAYERS
from runtime.build.builder import build
from runtime.build.cache_key import step_key
from runtime.build.image_assembly import assemble
from runtime.build.plan import (
    BuildPlan,
    ContextFiles,
    CopyFiles,
    CopyIn,
    FetchedFile,
    ImageConfig,
    ImportImage,
    InlineFiles,
    InstallWheel,
    MakeDirectory,
    RunCommand,
    StageFiles,
    Step,
)
from runtime.errors import BuildError
from runtime.layer.tree import Tree, TreeEntry
from runtime.oci.digest import digest_bytes
from runtime.store.records import Image, Layer
from runtime.store.store import Store


def code(tmp_path: Path) -> CopyIn:
    root = tmp_path / "code"
    root.mkdir(exist_ok=True)
    (root / "train.py").write_text("print()\n")
    (root / "train.py").chmod(0o600)
    digest = hashlib.sha256(b"print()\n").hexdigest()
    return CopyIn(str(root), (("train.py", 0o755, digest),), "/workspace", digest_bytes(b"snapshot"))


def export(plan: BuildPlan, store: Store, directory: Path, image: Image | None = None) -> ExportedDockerfile:
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


def published(store: Store, root: Path, *entries: TreeEntry, key: str = "") -> Layer:
    """A layer with *entries*, whose files are empty."""
    for entry in entries:
        if entry.type == "dir":
            (root / entry.path).mkdir()
        elif entry.type == "file":
            (root / entry.path).touch()
        else:
            os.mknod(root / entry.path, 0o020644)
    name = digest_bytes(f"{root}{key}".encode())
    return store.publish(name, root, Tree.of(entries), label=key or root.name)


def assembled(store: Store, steps: tuple[Step, ...], layers: Sequence[Layer]) -> tuple[BuildPlan, Image]:
    plan = BuildPlan(steps, ImageConfig(workdir="/"))
    return plan, assemble(plan, list(zip(steps, layers, strict=True)), store, key=digest_bytes(repr(steps).encode()))


@pytest.mark.requires("root")
def test_without_a_shell_to_delete_with_everything_is_one_archive(tmp_path: Path, store: Store) -> None:
    with store.staging() as below, store.staging() as above:
        files = [TreeEntry("a", "dir", 0o755), TreeEntry("a/gone", "file", 0o644), TreeEntry("a/kept", "file", 0o600, 7, 8)]
        first = published(store, below, *files)
        second = published(store, above, TreeEntry("a", "dir", 0o755), TreeEntry("a/gone", "whiteout"))
    steps = (RunCommand(("/make",), label="make"), RunCommand(("/remove",), label="remove"))
    plan, image = assembled(store, steps, [first, second])
    export(plan, store, tmp_path / "out", image)
    assert ["FROM scratch", "ADD layers/remove.tar /", 'CMD ["train"]'] == instructions(tmp_path / "out")
    with tarfile.open(tmp_path / "out/layers/remove.tar") as archive:
        assert [("a", 0, 0), ("a/kept", 7, 8)] == [(each.name, each.uid, each.gid) for each in archive]


def test_many_wheels_stay_below_what_a_manifest_holds(tmp_path: Path, store: Store) -> None:
    count = 250
    layers = []
    for number in range(count):
        with store.staging() as root:
            layers.append(published(store, root, TreeEntry(f"wheel{number}", "file", 0o644), key=f"w{number} 1"))
    steps = tuple(InstallWheel(f"w{number}", "1", "0" * 64, "w.whl", "python", "3.13") for number in range(count))
    plan, image = assembled(store, steps, layers)
    export(plan, store, tmp_path / "out", image)
    adds = [line.split()[1:] for line in instructions(tmp_path / "out") if line.startswith("ADD")]
    assert len(adds) <= MOST_LAYERS
    assert [f"wheels/w{number}-1.tar" for number in range(count)] == [word for line in adds for word in line if word != "/"]


@pytest.mark.parametrize(
    ("execution", "base"),
    [
        ({"User": "web", "WorkingDir": "/srv"}, "FROM registry.test/team/image@{digest}"),
        ({"OnBuild": ["RUN x"]}, "FROM scratch"),
        ({"Volumes": {"/v": {}}}, "FROM scratch"),
        (None, "FROM scratch"),
    ],
)
def test_an_image_of_a_registry_is_named_unless_it_acts_on_builds(
    execution: dict[str, object] | None, base: str, tmp_path: Path, store: Store
) -> None:
    digest = digest_bytes(b"manifest")
    step = ImportImage(f"registry.test/team/image:v1@{digest}", digest)
    with store.staging() as root:
        layer = published(store, root, TreeEntry("etc", "dir", 0o755))
    fields = {} if execution is None else {"config": {"config": execution}}
    store.remember_key(step_key(step, None), layer, fields=fields)
    plan, image = assembled(store, (step,), [layer])
    export(plan, store, tmp_path / "out", image)
    written = instructions(tmp_path / "out")
    assert base.format(digest=digest) == written[0]
    if base != "FROM scratch":
        assert ["WORKDIR /", "USER 0", "ENTRYPOINT []", 'CMD ["train"]'] == written[2:]


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

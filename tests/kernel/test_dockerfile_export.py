"""An image that is written as a Dockerfile: buildah and podman make the same file tree of it, path by path."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from shell_layer import shell_layer

from launcher.errors import Origin
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.dockerfile.parse import parse
from launcher.plan.dockerfile.translate import PinnedImage, translate
from launcher.plan.dockerfile_export.export import ExportedDockerfile, export_dockerfile
from launcher.plan.stat_cache import StatCache
from runtime.build.builder import build
from runtime.build.cache_key import step_key
from runtime.build.debian.shown_archive import archive_to_show
from runtime.build.image_assembly import assemble
from runtime.build.images.import_image import apply_import_image
from runtime.build.make_step import StepMaker
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, MakeDirectory
from runtime.build.sources import BuildSources
from runtime.layer.tree import TreeEntry
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.merged_tree import merged_tree
from runtime.store.records import Image, Layer
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc")

BUILDERS_OWN = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "run/.containerenv"}
"""What the head of every written Dockerfile says that builders leave behind."""

DOCKERFILE = """\
FROM base AS build
WORKDIR /src
COPY src/ .
COPY --chmod=750 src/run.sh /usr/local/bin/
RUN mkdir out && cat a.txt b.txt > out/ab && ln out/ab out/again && ln -s ab out/link && chmod 640 out/ab && rm /etc/gone

FROM base
ENV MODE="a $ b" LANGUAGE=en
COPY src/a.txt /var/log/kept
RUN --mount=type=bind,from=build,source=/src,target=/mnt/src --mount=type=bind,source=src/a.txt,target=/mnt/a.txt \\
    --mount=type=tmpfs,target=/mnt/scratch \\
    cat /mnt/src/out/ab /mnt/a.txt > /copied && mkdir -p /var/log/new /tmp/new && touch /var/log/new/x /tmp/.hidden
RUN <<'EOF'
set -e
echo "it's $MODE" > /said

printf 'a\\n' >> "/said" # a comment \\
rm -r /etc/old
mkdir /etc/old
touch /etc/old/new && chmod 4711 /etc/old/new
EOF
USER 1000:1000
WORKDIR /home/me/work
RUN touch mine && mkdir deep && echo "$HOME" > deep/home
USER root
COPY --from=build --chown=1000:1001 /src/out /home/me/out
COPY --from=build /usr/local/bin/run.sh /src/a* /opt/both/
COPY <<TEXT <<'LITERAL' /etc/texts/
hello $MODE
TEXT
hello $MODE
LITERAL
ADD archive.tar.gz /opt/unpacked/
ADD --chown=7:8 archive.tar.gz /opt/owned/
RUN mkdir /opt/real && ln -s real /opt/leads
COPY --link src/a.txt /opt/leads/
COPY --link src/b.txt /opt/real/
COPY src /opt/whole
RUN cd /opt/whole && mv a.txt "with space" && chown 3:4 b.txt
LABEL said="x y" dollar='$5'
EXPOSE 80/tcp
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=2 CMD cat /said
WORKDIR /home/me
USER 1000
ENTRYPOINT ["sh", "-c"]
CMD ["cat /said"]
"""


@pytest.fixture
def base(tmp_path: Path, store: Store) -> ImportImage:
    """An image with the host's shell and tools, in a directory: no registry has it, so it has to come along."""
    layer = shell_layer(store)
    plan = BuildPlan((MakeDirectory("/"),), ImageConfig())
    image = assemble(plan, [(plan.steps[0], layer)], store, key=digest_bytes(b"base plan"))
    export_oci_layout(image, store, tmp_path / "base")
    return ImportImage(f"oci:{tmp_path / 'base'}", image.digest)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Files with modes that have to arrive, whoever writes them with whatever umask."""
    root = tmp_path / "context"
    (root / "src/deep/er").mkdir(parents=True)
    (root / "src/empty").mkdir()
    (root / "src/a.txt").write_text("a\n")
    (root / "src/b.txt").write_text("b\n")
    (root / "src/deep/er/$c d").write_text("c\n")
    (root / "src/link").symlink_to("../nowhere")
    (root / "src/run.sh").write_text("#!/bin/sh\n")
    (root / "src/run.sh").chmod(0o755)
    with tarfile.open(root / "archive.tar.gz", "w:gz") as archive:
        for name, mode, owner in (("x/y", 0o604, 3), ("x/z", 0o4755, 0)):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = 1, mode, owner, owner
            archive.addfile(member, BytesIO(b"!"))
    return root


def planned(context: Path, base: ImportImage, text: str = DOCKERFILE, network: str = "none") -> BuildPlan:
    """The build plan of the Dockerfile *text*."""

    def pin(name: str, origin: Origin) -> PinnedImage:
        assert "base" == name
        return PinnedImage(steps=(base,), config={})

    files = BuildContext(context, ignore=Ignore.parse(""), ignore_file=".dockerignore", cache=StatCache(context / "../stats"))
    made = translate(parse(text, path="Dockerfile"), context=files, pin=pin, architecture="amd64", network=network)
    return BuildPlan(steps=made.steps, config=made.config, stages=made.stages)


def exported(plan: BuildPlan, image: Image, store: Store, directory: Path) -> ExportedDockerfile:
    def stage_layers(number: int) -> tuple[Layer, ...]:
        with store.building():
            return StepMaker(plan, store, BuildSources(), NullObserver()).stage_layers(number)

    return export_dockerfile(
        plan,
        image,
        store,
        directory=directory,
        name="written",
        command=("true",),
        stage_layers=stage_layers,
        archive=partial(archive_to_show, suite=None, archives=None, mirror=None),
    )


def built_by(tool: str, directory: Path, scratch: Path, store: Store) -> tuple[dict[str, TreeEntry], dict[str, object]]:
    """The file tree that *tool* makes of *directory*, and the configuration of its image."""
    scratch.mkdir()
    (scratch / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=90000:90000"]\n')
    env = {**os.environ, "CONTAINERS_CONF_OVERRIDE": str(scratch / "containers.conf"), "BUILDAH_ISOLATION": "chroot"}
    own = [tool, "--root", str(scratch / "root"), "--runroot", str(scratch / "run"), "--storage-driver", "vfs"]

    def run(*words: str) -> None:
        done = subprocess.run([*own, *words], env=env, capture_output=True, text=True, check=False, timeout=300)
        assert 0 == done.returncode, done.stdout + done.stderr

    run("build", "--tag", "made", str(directory))
    run("push", "--quiet", "made", f"oci:{scratch / 'pushed'}")
    index = json.loads((scratch / "pushed/index.json").read_text())
    step = ImportImage(f"oci:{scratch / 'pushed'}", index["manifests"][0]["digest"])
    layers = apply_import_image(step, store=store, observer=NullObserver())
    run("rmi", "--all", "--force")
    return paths_of(store, layers), (store.key_fields(step_key(step, None)) or {})["config"]


def paths_of(store: Store, layers: tuple[Layer, ...]) -> dict[str, TreeEntry]:
    return {entry.path: replace(entry, mtime=0) for entry in merged_tree(store, layers) if entry.path not in BUILDERS_OWN}


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param("buildah", marks=pytest.mark.requires("buildah")),
        pytest.param("podman", marks=pytest.mark.requires("podman", "patience")),
    ],
)
def test_other_builders_make_the_same_tree(tool: str, tmp_path: Path, store: Store, base: ImportImage, context: Path) -> None:
    plan = planned(context, base)
    image = build(plan, store).image
    exported(plan, image, store, tmp_path / "out")
    theirs, config = built_by(tool, tmp_path / "out", tmp_path / "other", store)
    ours = paths_of(store, image.layers)
    assert ours == theirs, "\n".join(
        f"{path}: {ours.get(path)} / {theirs.get(path)}" for path in {*ours, *theirs} if ours.get(path) != theirs.get(path)
    )
    written, wanted = config["config"], image.config["config"]
    for key in ("Entrypoint", "Cmd", "User", "WorkingDir", "ExposedPorts", "StopSignal", "Labels"):
        got = written.get(key)
        if key == "Labels":
            got = {name: text for name, text in got.items() if not name.startswith("io.buildah")}
        assert wanted.get(key) == got, key
    assert {*wanted["Env"]} <= {*written["Env"]}


@pytest.mark.parametrize("there", [pytest.param("# empty\n", id="an empty list"), pytest.param(None, id="no list")])
@pytest.mark.requires("buildah")
def test_apt_finds_the_archive_that_our_own_build_shows(
    there: str | None, tmp_path: Path, store: Store, base: ImportImage, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCH_DEBIAN_MIRROR", "http://mirror.lab/debian")
    listed = "" if there is None else f"COPY <<EOF /etc/apt/sources.list.d/debian.sources\n{there}EOF\n"
    text = f"""FROM base
COPY <<EOF /etc/os-release
ID=debian
VERSION_CODENAME=trixie
EOF
COPY <<EOF /etc/apt/apt.conf.d/x
EOF
{listed}RUN cat /etc/apt/sources.list.d/debian.sources > /seen && rm -rf /var/lib/x
"""
    plan = planned(context, base, text, network="host")
    image = build(plan, store).image
    done = exported(plan, image, store, tmp_path / "out")
    assert any("`apt/debian.sources`" in warning for warning in done.warnings)
    theirs, _ = built_by("buildah", tmp_path / "out", tmp_path / "other", store)
    ours = paths_of(store, image.layers)
    assert ours["seen"].size > 20
    assert ours == theirs, "\n".join(sorted(f"{one}" for one in {*ours.values()} ^ {*theirs.values()}))

"""The configuration of an image: Docker's fields, and the history of a base with that of what came on top."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from saved_images import config_of, digest, tar_of, write_layout

from runtime.build.builder import build
from runtime.build.cache_key import plan_key
from runtime.build.plan import BuildPlan, CopyFiles, ImageConfig, ImportImage, InlineFiles, MakeDirectory, RunCommand
from runtime.build.step_label import created_by
from runtime.light_dataclasses import replace
from runtime.oci.digest import Digest
from runtime.store.store import Store

WRITE = CopyFiles(InlineFiles((("a", "1"),)), "/a", label="[2/3] COPY <<a /a")


def test_every_field_that_docker_knows_is_written(store: Store) -> None:
    config = ImageConfig(
        env={"B": "2", "A": "1"},
        workdir="/srv",
        entrypoint=("python3",),
        command=("train.py",),
        labels={"x": "y"},
        user="web",
        exposed_ports=("80/tcp", "53/udp"),
        volumes=("/data",),
        stop_signal="SIGINT",
        shell=("/bin/bash", "-c"),
        healthcheck={"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        onbuild=("RUN make",),
    )
    assert {
        "Env": ["A=1", "B=2"],
        "WorkingDir": "/srv",
        "Entrypoint": ["python3"],
        "Cmd": ["train.py"],
        "Labels": {"x": "y"},
        "User": "web",
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        "OnBuild": ["RUN make"],
    } == build(BuildPlan((WRITE,), config), store).image.config["config"]


@pytest.mark.parametrize(
    "change",
    [
        {"user": "web"},
        {"exposed_ports": ("80/tcp",)},
        {"volumes": ("/v",)},
        {"stop_signal": "SIGINT"},
        {"shell": ("/bin/bash",)},
        {"healthcheck": {"Test": ["NONE"]}},
        {"onbuild": ("RUN true",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_makes_another_image(store: Store, change: dict[str, Any]) -> None:
    plan = BuildPlan((WRITE,), ImageConfig())
    other = replace(plan, config=ImageConfig(**change))
    assert plan_key(plan) != plan_key(other)
    assert build(plan, store).image.digest != build(other, store).image.digest


HISTORY = [
    {"created": "2025-01-01T00:00:00Z", "created_by": "/bin/sh -c #(nop) ADD file:abc in / ", "comment": "debuerreotype"},
    {"created": "2025-01-01T00:00:00Z", "created_by": '/bin/sh -c #(nop)  CMD ["bash"]', "empty_layer": True},
    {"created": "2025-01-02T00:00:00Z", "created_by": "RUN /bin/sh -c apt-get update # buildkit"},
]


def base(directory: Path, history: object) -> ImportImage:
    layers = [tar_of({"one": b"1"}), tar_of({"two": b"2"})]
    config = json.dumps({**json.loads(config_of(layers)), "history": history}).encode()

    def with_history(manifest: dict[str, Any]) -> None:
        (directory / "blobs" / "sha256" / digest(config)[7:]).write_bytes(config)
        manifest["config"] |= {"digest": digest(config), "size": len(config)}

    return ImportImage(f"oci:{directory}", Digest(write_layout(directory, layers, change=with_history)))


def history_of(store: Store, imported: ImportImage) -> list[dict[str, Any]]:
    steps = (imported, MakeDirectory("/srv", label="[1/3] WORKDIR /srv"), WRITE)
    result = build(BuildPlan(steps, ImageConfig()), store)
    history: list[dict[str, Any]] = result.image.config["history"]
    assert len(result.image.config["rootfs"]["diff_ids"]) == sum(not entry.get("empty_layer") for entry in history)
    return history


def test_the_history_of_a_base_stays_below_that_of_the_steps(store: Store, tmp_path: Path) -> None:
    *below, directory, copy = history_of(store, base(tmp_path / "base", HISTORY))
    assert HISTORY == below
    assert ["WORKDIR /srv", "COPY <<a /a"] == [directory["created_by"], copy["created_by"]]


@pytest.mark.parametrize("history", [None, [], HISTORY[:2], "text", [1, 2]], ids=str)
def test_a_base_whose_history_says_nothing_of_its_layers_is_named_by_digest(
    store: Store, tmp_path: Path, history: object
) -> None:
    imported = base(tmp_path / "base", history)
    assert [f"launch: import {imported.manifest_digest}"] * 2 == [
        entry["created_by"] for entry in history_of(store, imported)[:2]
    ]


def test_where_a_base_lay_is_no_part_of_the_image(store: Store, tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        steps = (base(tmp_path / name, None), WRITE)
        digests.append(build(BuildPlan(steps, ImageConfig()), Store(tmp_path / f"store-{name}")).image.digest)
    assert digests[0] == digests[1]


def test_an_instruction_is_named_as_docker_names_it() -> None:
    assert "RUN /bin/sh -c make all" == created_by(RunCommand(("/bin/sh", "-c", "make all"), label="[build 2/5] RUN make all"))
    assert "RUN <<EOF (make)" == created_by(RunCommand(("sh",), stdin="make", label="[2/5] RUN <<EOF (make)"))
    assert "launch: dpkg --configure -a" == created_by(RunCommand(("sh",), label="dpkg --configure -a"))
    assert "WORKDIR /a" == created_by(MakeDirectory("/a"))
    assert "COPY a /a" == created_by(replace(WRITE, label=""))


def test_a_changed_label_is_another_image_with_the_same_layers(store: Store) -> None:
    plan = BuildPlan((WRITE,), ImageConfig())
    other = BuildPlan((replace(WRITE, label="[2/3] ADD a /a"),), ImageConfig())
    moved = BuildPlan((replace(WRITE, label="[7/9] COPY <<a /a"),), ImageConfig())
    images = [build(each, store).image for each in (plan, other, moved)]
    assert images[0].layers == images[1].layers
    assert images[0].digest != images[1].digest
    assert images[0].digest == images[2].digest

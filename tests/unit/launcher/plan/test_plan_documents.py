"""A plan survives JSON, and its identity holds what changes results and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_plan import DIGEST, PLAN, SPEC, STEPS

from launcher.config.spec import Cluster, Gpu, Tracking
from launcher.plan.identity import spec_digest
from launcher.plan.plan_json import build_document, build_from, from_document, to_document
from runtime.build.plan import (
    ContextFiles,
    CopyFiles,
    FetchedFile,
    ImageConfig,
    ImportImage,
    InlineFiles,
    MakeDirectory,
    RunCommand,
    RunMount,
    StageFiles,
)
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes


def test_a_plan_survives_json():
    assert from_document(json.loads(json.dumps(to_document(PLAN)))) == PLAN


@pytest.mark.parametrize("receiver", [("touch", "/tmp/owned"), "https://hooks.example.org/secret"])
def test_no_plan_that_was_written_down_tells_anybody(receiver):
    """Neither is it written, nor is it read from what somebody else wrote."""
    document = to_document(replace(PLAN, spec=replace(SPEC, notify=receiver)))
    assert "notify" not in document["spec"]
    document["spec"]["notify"] = receiver
    assert from_document(json.loads(json.dumps(document))).spec.notify is None


def test_an_unknown_step_is_not_guessed():
    document = to_document(PLAN)
    document["build"]["steps"][0]["step"] = "teleport"
    with pytest.raises(ValueError, match="no such step: 'teleport'"):
        from_document(document)


DOCKERFILE_STEPS = (
    CopyFiles(ContextFiles("/ctx", (("a", "b/a", 0o644, "0" * 64),), single=False), "/x/", owner="web", mode=0o700, label="COPY"),
    CopyFiles(StageFiles(0, ("out/*",)), "/y", link=True),
    CopyFiles(FetchedFile("https://host/f", DIGEST, "f"), "/z/", unpack=True),
    CopyFiles(InlineFiles((("n", "text"),)), "/w"),
    MakeDirectory("/workspace", owner="1:2", label="WORKDIR /workspace"),
    RunCommand(
        ("make",),
        cwd="/src",
        user="web",
        stdin="x",
        mounts=(
            RunMount("bind", "/src", context="/ctx", files=(("a", 0o644, "0" * 64),)),
            RunMount("cache", "/c", cache_id="c", sharing="locked", readonly=False, stage=0),
            RunMount("secret", "/s", source="s", required=True, env="S"),
            RunMount("tmpfs", "/t", size_bytes=5),
        ),
    ),
)
CONFIG = ImageConfig(
    user="web",
    exposed_ports=("80/tcp",),
    volumes=("/v",),
    stop_signal="SIGINT",
    shell=("/bin/bash", "-c"),
    healthcheck={"Test": ["CMD", "true"], "Interval": 5},
    onbuild=("RUN true",),
)


def test_a_plan_of_a_dockerfile_survives_json():
    stages = ((ImportImage("docker.io/library/x", DIGEST), DOCKERFILE_STEPS[0]), (DOCKERFILE_STEPS[1],))
    plan = replace(PLAN, build=replace(PLAN.build, steps=DOCKERFILE_STEPS, stages=stages, config=CONFIG))
    assert from_document(json.loads(json.dumps(to_document(plan)))) == plan
    assert build_from(json.loads(json.dumps(build_document(plan.build)))) == plan.build


def test_a_document_is_what_earlier_versions_wrote():
    """Byte by byte: records of runs and recipes of images are compared and hashed."""
    recorded = (Path(__file__).parent / "recorded_plan.json").read_text().strip()
    stages = ((ImportImage("docker.io/library/x", DIGEST), DOCKERFILE_STEPS[0]), (DOCKERFILE_STEPS[1],))
    plan = replace(PLAN, build=replace(PLAN.build, steps=(*STEPS, *DOCKERFILE_STEPS), stages=stages, config=CONFIG))
    assert recorded == json.dumps(to_document(plan))
    assert from_document(json.loads(recorded)) == plan
    assert "sha256:d89ac435edcc080c0a38b12fa1aac0fa606c6337294055f6aabc4c0c340885ef" == identity()


def test_an_older_plan_without_stages_is_read():
    document = to_document(PLAN)
    del document["build"]["stages"]
    for name in ("user", "exposed_ports", "healthcheck"):
        del document["build"]["config"][name]
    for name in ("workspace", "workspace_max_size"):
        del document["spec"]["outputs"][name]
    assert from_document(document) == PLAN


def identity(spec=SPEC, **changes):
    """Of the plan with other fields of its own, of its build and of the image's configuration."""
    build = {name: changes.pop(name) for name in ("steps", "stages") if name in changes}
    config = replace(PLAN.build.config, workdir=changes.pop("workdir", PLAN.build.config.workdir))
    return spec_digest(replace(PLAN, spec=spec, build=replace(PLAN.build, config=config, **build), **changes))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "d"},
        {"tags": {"a": "b"}},
        {"tracking": None},
        {"tracking": Tracking(uri="http://mlflow.lab")},
        {"cluster": Cluster(priority=9)},
        {"sweep": None},
        {"timeout": 9.0},
        {"grace": 1.0},
        {"retries": 3},
        {"memory": 5},
        {"shm": 5},
        {"caches": {}},
        {"secrets": ()},
        {"image": replace(SPEC.image, index=replace(SPEC.image.index, url="https://elsewhere"))},
        {"image": replace(SPEC.image, mirror="http://mirror.lab/debian")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_cannot_change_the_result_is_not_in_the_identity(change):
    assert identity() == identity(replace(SPEC, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"lr": 0.2}},
        {"seed": 1},
        {"deterministic": True},
        {"env": {}},
        {"gpu": Gpu(model="H100")},
        {"network": "host"},
        {"image": replace(SPEC.image, env={"A": "2"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_can_change_the_result_is_in_the_identity(change):
    assert identity() != identity(replace(SPEC, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"base_digest": digest_bytes(b"y")},
        {"lock": None},
        {"code": replace(PLAN.code, digest=digest_bytes(b"y"))},
        {"argv": ("true",)},
        {"workdir": "/w"},
        {"gpus": 1},
        {"processes": 2},
        {"threads": 2},
        {"data": {}},
        {"steps": (*PLAN.build.steps, RunCommand(("true",)))},
        {"steps": (*PLAN.build.steps, DOCKERFILE_STEPS[3])},
        {"steps": (*PLAN.build.steps, DOCKERFILE_STEPS[4])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_pins_are_in_the_identity(change):
    assert identity() != identity(**change)


def test_where_the_code_lies_is_not_in_the_identity():
    moved = replace(PLAN.build.steps[-1], source="/elsewhere")
    assert identity() == identity(steps=(*PLAN.build.steps[:-1], moved))


def test_what_another_stage_is_made_of_is_in_the_identity_and_where_it_is_found_is_not():
    steps = (*PLAN.build.steps, CopyFiles(StageFiles(0, ("out",)), "/out"))
    bases = [
        ImportImage("docker.io/library/x", DIGEST),
        ImportImage("mirror.lab/x", DIGEST),
        ImportImage("x", digest_bytes(b"y")),
    ]
    one, elsewhere, other = (identity(steps=steps, stages=((base,),)) for base in bases)
    assert one == elsewhere
    assert one != other

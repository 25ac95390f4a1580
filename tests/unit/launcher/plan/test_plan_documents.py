"""A plan survives JSON, and its identity holds what changes results and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sample_plan import DIGEST, PLAN, SPEC

from launcher.config.spec import Cluster, Gpu, Tracking
from launcher.plan.identity import spec_digest
from launcher.plan.plan_json import from_document, to_document
from runtime.build.plan import RunCommand
from runtime.oci.digest import digest_bytes


def test_a_plan_survives_json():
    assert from_document(json.loads(json.dumps(to_document(PLAN)))) == PLAN


def test_an_unknown_step_is_not_guessed():
    document = to_document(PLAN)
    document["build"]["steps"][0]["step"] = "teleport"
    with pytest.raises(ValueError, match="no such step: 'teleport'"):
        from_document(document)


def identity(spec=SPEC, **changes):
    pins = {
        "base_digest": DIGEST,
        "steps": PLAN.build.steps,
        "lock": PLAN.lock,
        "code_digest": DIGEST,
        "argv": PLAN.argv,
        "gpus": 0,
        "processes": 1,
        "threads": 1,
        "data": PLAN.data,
    }
    return spec_digest(spec, **{**pins, **changes})


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
        {"workdir": "/w"},
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
        {"code_digest": digest_bytes(b"y")},
        {"argv": ("true",)},
        {"gpus": 1},
        {"processes": 2},
        {"threads": 2},
        {"data": {}},
        {"steps": (*PLAN.build.steps, RunCommand(("true",)))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_pins_are_in_the_identity(change):
    assert identity() != identity(**change)


def test_where_the_code_lies_is_not_in_the_identity():
    moved = replace(PLAN.build.steps[-1], source="/elsewhere")
    assert identity() == identity(steps=(*PLAN.build.steps[:-1], moved))

"""A resumed sweep must be the same sweep; how long it goes on may change."""

from __future__ import annotations

from pathlib import Path

from launcher.config.spec import ExperimentSpec, Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.sweep.description import SweepDescription, SweepRequest, changes, describe, read, write
from runtime.light_dataclasses import replace

LR = Dimension("params.lr", low=0.1, high=1.0, log=True)
SPEC = ExperimentSpec("x", params={"lr": 0.1, "epochs": 20}, sweep=Sweep(sampler="tpe", trials=10))


def test_more_trials_are_the_same_sweep() -> None:
    more = replace(SPEC, sweep=Sweep(sampler="tpe", trials=99, parallel=3), tags={"a": "b"}, params={"lr": 7, "epochs": 20})
    assert [] == changes(describe(SPEC, (LR,), code={"i": "c"}), describe(more, (LR,), code={"i": "c"}))


def test_another_space_code_or_setting_is_named() -> None:
    other = replace(SPEC, params={"lr": 0.1, "epochs": 5}, sweep=Sweep(sampler="random"))
    narrower = replace(LR, high=0.5)
    assert [
        "code of image 1: c → d",
        "params.epochs: 20 → 5",
        "space.params.lr: log interval(0.1, 1.0) → log interval(0.1, 0.5)",
        "sweep.sampler: tpe → random",
    ] == changes(describe(SPEC, (LR,), code={"i": "c"}), describe(other, (narrower,), code={"i": "d"}))


def test_a_setting_that_an_older_launch_did_not_know_stood_at_its_default() -> None:
    now = describe(SPEC, (LR,), code={"i": "c"})
    before = {key: value for key, value in now.items() if not key.startswith("outputs.")}
    assert [] == changes(before, now)
    assert ['outputs.workspace: (none) → ["a"]'] == changes(before, {**now, "outputs.workspace": ["a"]})


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    request = SweepRequest(("experiment=x", "params.lr=1,2"), ("tqdm",), None, None, "/home/me")
    assert SPEC.sweep
    written = SweepDescription(request, SPEC.sweep, (LR,), describe(SPEC, (LR,), code={"i": "c"}))
    write(tmp_path / "sweep.json", written)
    found = read(tmp_path / "sweep.json")
    assert (request, SPEC.sweep, (LR,)) == (found.request, found.settings, found.dimensions)
    assert [] == changes(found.same, written.same)

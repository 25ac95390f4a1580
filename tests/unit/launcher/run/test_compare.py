"""Equal metrics don't prove an equal run: outputs are compared too, and the first difference is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from launcher.journal.status import RunStatus
from launcher.run.compare.compare import compare, is_wall_clock
from launcher.tracking.record.record_files import output_digests
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir


def record(directory: Path, losses: list[float], *, output: str | None = "weights", **fields: Any) -> RunRecord:
    run_dir = RunDir(directory)
    run_dir.outputs.mkdir(parents=True)
    lines = [json.dumps({"step": step, "loss": loss, "epoch_s": step * 1.7}) for step, loss in enumerate(losses)]
    run_dir.metrics.write_text("\n".join([*lines, "not json", '["not", "an object"]']) + "\n")
    if output is not None:
        (run_dir.outputs / "model.bin").write_text(output)
    known = {"image_digest": "i", "code_digest": "c", "seed": 1, "params": {"lr": 0.1}, **fields}
    return RunRecord(run_dir, directory.name, RunStatus.FINISHED, datetime.now(UTC), **known)


def test_equal_metrics_and_outputs_are_identical(tmp_path: Path) -> None:
    result = compare(record(tmp_path / "a", [1.0, 0.5]), record(tmp_path / "b", [1.0, 0.5]))
    assert ("identical", 1, 2) == (result.verdict, result.equal_metrics, result.steps)


def test_equal_metrics_with_other_weights_are_not_identical(tmp_path: Path) -> None:
    result = compare(record(tmp_path / "a", [1.0]), record(tmp_path / "b", [1.0], output="other"))
    assert ("metrics identical", 0, 1) == (result.verdict, result.equal_outputs, result.outputs)


def test_a_log_in_the_working_directory_decides_nothing_beside_metrics(tmp_path: Path) -> None:
    runs = []
    for name, losses in (("a", [1.0]), ("b", [1.0]), ("c", []), ("d", [])):
        runs.append(record(tmp_path / name, losses, output=None))
        (runs[-1].run_dir.outputs / "workspace").mkdir()
        (runs[-1].run_dir.outputs / "workspace/train.log").write_text(name)
    with_metrics, without = compare(*runs[:2]), compare(*runs[2:])
    assert ("metrics identical", True, 0, 1) == (
        with_metrics.verdict,
        with_metrics.is_verified,
        with_metrics.equal_outputs,
        with_metrics.outputs,
    )
    assert ("different", False) == (without.verdict, without.is_verified)


def test_the_first_different_step_is_named(tmp_path: Path) -> None:
    result = compare(record(tmp_path / "a", [1.0, 0.5, 0.2]), record(tmp_path / "b", [1.0, 0.4, 0.1]))
    assert result.verdict == "different"
    assert result.first_difference is not None
    assert ("loss", 1, 0.5, 0.4) == (
        result.first_difference.metric,
        result.first_difference.step,
        result.first_difference.before,
        result.first_difference.after,
    )


def test_a_missing_step_is_a_difference(tmp_path: Path) -> None:
    assert compare(record(tmp_path / "a", [1.0, 0.5]), record(tmp_path / "b", [1.0])).verdict == "different"


def test_each_metric_that_went_through_mlflow_is_compared(tmp_path: Path) -> None:
    """Those lines hold one metric each, by `key` and `value`; the last of a step must not stand for all of them."""
    a, b = record(tmp_path / "a", []), record(tmp_path / "b", [])
    for one, loss in ((a, 0.5), (b, "NaN")):
        points = [{"key": "loss", "value": loss, "step": 1, "time": 17}, {"key": "accuracy", "value": 0.9, "step": 1, "time": 17}]
        others = [{"param": "depth", "value": "3"}, {"tag": "note", "value": "x"}]
        one.run_dir.logged.write_text("".join(json.dumps(line) + "\n" for line in (*points, *others)))
    result = compare(a, b)
    assert ("different", 2, 1) == (result.verdict, result.metrics, result.equal_metrics)


def test_nan_equals_nan(tmp_path: Path) -> None:
    assert compare(record(tmp_path / "a", [float("nan")]), record(tmp_path / "b", [float("nan")])).verdict == "identical"


def test_a_changed_parameter_is_named_with_both_values(tmp_path: Path) -> None:
    result = compare(record(tmp_path / "a", [1.0]), record(tmp_path / "b", [1.0], params={"lr": 0.2}))
    assert ["params.lr 0.1 → 0.2"] == [cause.text for cause in result.causes]


def machine(directory: Path, *, threads: int = 2, data: str = "d1", **facts: str) -> RunRecord:
    """A run with what is known of its plan and its machine."""
    made = record(directory, [1.0], facts=facts)
    pin = {"digest": f"sha256:{data}", "files": 1, "size_bytes": len(data)}
    made.run_dir.plan.write_text(json.dumps({"plan": {"threads": threads, "cpus": 2.0, "data": {"table": pin}}}))
    return made


@pytest.mark.parametrize(
    ("other", "cause", "hint"),
    [
        ({"threads": 1}, "threads 2 → 1", "launch rerun a cpus=2"),
        ({"data": "d22"}, "data.table 1 files, 2 bytes (d1) → 1 files, 3 bytes (d22)", "`data.table=PATH` names"),
        ({"gpu_models": "L4"}, "GPU H100 → L4", "launch rerun a gpu.model='H100'"),
        ({"driver": "570"}, "driver 580 → 570", None),
        ({"gpu_power_limits": "350 W"}, "power limit 700 W → 350 W", "it changes speed"),
        ({"cpu": "EPYC", "kernels": "x86-64-v3"}, "CPU Xeon → EPYC", "`deterministic: true`"),
        ({"cpu": "EPYC"}, "CPU Xeon → EPYC", None),
    ],
    ids=["threads", "data", "GPU", "driver", "power limit", "CPU of another level", "CPU of the same level"],
)
def test_the_likely_cause_is_named_with_what_to_do(tmp_path: Path, other: dict[str, Any], cause: str, hint: str | None) -> None:
    facts = {"gpu_models": "H100", "driver": "580", "cpu": "Xeon", "kernels": "x86-64-v4", "gpu_power_limits": "700 W"}
    result = compare(machine(tmp_path / "a", **facts), machine(tmp_path / "b", **{**facts, **other}))
    first = result.causes[0]
    assert cause == first.text
    assert (first.hint is None) if hint is None else (hint in (first.hint or ""))


def test_what_is_the_same_is_said_too(tmp_path: Path) -> None:
    facts = {"cpu": "Xeon", "kernels": "x86-64-v4"}
    result = compare(machine(tmp_path / "a", **facts), machine(tmp_path / "b", **facts))
    assert () == result.causes
    assert {"image", "code", "data", "params", "seed", "threads", "CPU"} <= set(result.same)


def test_a_stated_tolerance_is_for_metrics(tmp_path: Path) -> None:
    before, after = record(tmp_path / "a", [1.0, 0.5]), record(tmp_path / "b", [1.0, 0.5000001], output="other")
    result = compare(before, after, rtol=1e-5)
    assert ("within tolerance", True) == (result.verdict, result.is_verified)
    assert result.first_difference is not None
    assert 1 == result.first_difference.step
    strict = compare(before, after, rtol=1e-9)
    assert ("different", False) == (strict.verdict, strict.is_verified)


def test_other_weights_are_not_verified_however_equal_the_metrics(tmp_path: Path) -> None:
    assert not compare(record(tmp_path / "a", [1.0]), record(tmp_path / "b", [1.0], output="other")).is_verified
    assert compare(record(tmp_path / "c", [1.0]), record(tmp_path / "d", [1.0])).is_verified


def test_a_run_that_ended_otherwise_is_different(tmp_path: Path) -> None:
    before, after = record(tmp_path / "a", [1.0], exit_code=0), record(tmp_path / "b", [1.0], exit_code=1)
    assert ("different", False) == (compare(before, after).verdict, compare(before, after).is_verified)


def test_outputs_that_are_elsewhere_are_compared_by_the_record(tmp_path: Path) -> None:
    before, after = record(tmp_path / "a", [1.0]), record(tmp_path / "b", [1.0])
    (before.run_dir.root / "outputs.json").write_text(json.dumps(output_digests(before.run_dir.outputs)))
    (before.run_dir.outputs / "model.bin").unlink()
    before.run_dir.outputs.rmdir()
    assert "identical" == compare(before, after).verdict


def test_a_link_in_outputs_is_not_followed(tmp_path: Path) -> None:
    before, after = record(tmp_path / "a", [1.0], output=None), record(tmp_path / "b", [1.0], output=None)
    (after.run_dir.outputs / "link").symlink_to("/etc/passwd")
    assert compare(before, after).outputs == 0


@pytest.mark.parametrize("name", ["epoch_s", "time/step", "system/cpu_utilization_percentage"])
def test_times_are_not_compared(name: str) -> None:
    assert is_wall_clock(name)


def test_lines_that_no_series_can_hold_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    before, after = record(tmp_path / "a", [0.5]), record(tmp_path / "b", [0.5])
    for one in (before, after):
        with one.run_dir.metrics.open("a") as metrics:
            metrics.write('{"huge": 1' + "0" * 400 + '}\n{"step": NaN, "x": 1}\n' + "[" * 100_000 + "\nno json\n")
    assert compare(before, after).verdict == "identical"


def test_runs_without_metrics_are_compared_by_their_outputs(tmp_path: Path) -> None:
    before, same, other = (record(tmp_path / name, [], output=text) for name, text in (("a", "w"), ("b", "w"), ("c", "v")))
    assert compare(before, same).verdict == "outputs identical"
    assert compare(before, other).verdict == "different"

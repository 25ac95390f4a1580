"""Runs are chosen by expressions in the grammar of MLflow's search."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.journal.status import RunStatus
from launcher.tracking.record.run_fields import check, names, value
from launcher.tracking.record.run_filter import run_filter
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    run_dir = RunDir(tmp_path / "7f3a9c")
    run_dir.root.mkdir()
    run_dir.spec.write_text('{"tags": {"team": "vision"}}')
    return RunRecord(
        run_dir,
        "7f3a9c",
        RunStatus.FINISHED,
        datetime(2026, 11, 25, tzinfo=UTC),
        experiment="digits",
        name="first try",
        reason="completed",
        started_at=datetime(2026, 11, 25, 1, tzinfo=UTC),
        duration_s=90.0,
        params={"lr": 0.001, "opt": {"name": "adam"}, "hidden": [64, 32], "amp": True, "note": "10"},
        metrics={"acc": 0.95, "val acc": 0.9},
    )


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc > 0.9 and params.lr < 0.1",
        "metrics.acc>0.9 AND NOT params.lr>=0.1",
        "metrics.`val acc` = 0.9",
        "params.opt.name = 'adam'",
        "params.opt.name in (sgd, adam)",
        "params.opt.name not in ('sgd')",
        "params.opt.name ILIKE 'A%' and params.opt.name not like 'A%'",
        "params.hidden = '[64, 32]'",
        "params.amp = true",
        "params.note = 10",
        "status = finished",
        "tags.team != nlp",
        "metrics.loss is null and metrics.acc is not null",
        "duration > 1m and duration <= 2h",
        "started > '2026-11-24' and started < 2099-01-01",
        "(metrics.acc < 0.5 or reason = completed) and name = 'first try'",
        "metrics.acc < 0.5 and metrics.acc > 2 or seed is null",
    ],
)
def test_a_run_fulfils(text: str, run: RunRecord) -> None:
    assert run_filter(text).admits(run)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc < 0.9",
        "metrics.loss < 1",
        "metrics.loss != 1",
        "not status = FINISHED",
        "name = 'FIRST TRY'",
        "duration > 2m",
    ],
)
def test_a_run_does_not_fulfil(text: str, run: RunRecord) -> None:
    assert not run_filter(text).admits(run)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it ends at column 1, where a field"),
        ("metrics.acc >", "it ends at column 14, where a value should be"),
        ("metrics.acc 0.9", "`0.9` is at column 13, where a comparison"),
        ("metrics.acc > 0.9 metrics.b > 1", "`metrics.b` is at column 19, where `and` or `or`"),
        ("(metrics.acc > 0.9", "it ends at column 19, where `)` should be"),
        ("name = 'open", "`'open` is at column 8, where a quote that is closed"),
        ("name not = x", "`=` is at column 10, where `in` or `like`"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run_filter(text)
    assert words in str(refused.value)


def test_a_field_that_no_run_has_is_refused_with_the_near_one(run: RunRecord) -> None:
    with pytest.raises(ConfigError) as refused:
        check("metrics.ac", [run])
    assert refused.value.hint == "did you mean `metrics.acc`?"
    with pytest.raises(ConfigError) as refused:
        check("metric.acc", [run])
    assert refused.value.hint == "did you mean `metrics.acc`?"
    with pytest.raises(ConfigError, match="unknown field `metric"):
        check("metric.acc", [])


def test_nested_parameters_have_names_with_dots(run: RunRecord) -> None:
    assert "params.opt.name" in names([run])
    assert value(run, "params.opt.name") == "adam"

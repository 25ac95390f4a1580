"""What a sweep's directory tells: its trials, the best, what mattered, and pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.sweep.pictures import draw_parallel, draw_slices, write_pictures
from launcher.config.amend import as_file_content
from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.sweep.description import SweepDescription, SweepRequest, write
from launcher.sweep.results import SweepResults, read_results
from launcher.sweep.search.importance import importances
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.search.study import Suggestion
from launcher.sweep.trial_log import TrialLog, Verdict
from runtime.light_dataclasses import replace
from runtime.state_dir import RunDir

X = Dimension("params.x", low=0.001, high=1.0, log=True)
KIND = Dimension("params.kind", choices=("params.kind=a", "params.kind=b"), values=("a", "b"))


@pytest.fixture
def results(tmp_path: Path) -> SweepResults:
    run_dir = RunDir(tmp_path)
    request = SweepRequest((), (), None, None, "/")
    write(run_dir.sweep, SweepDescription(request, Sweep(metric="loss"), (X, KIND), {}))
    log = TrialLog(run_dir.trials)
    for number in range(1, 11):
        point = (f"params.x={number / 10!r}", f"params.kind={'ab'[number % 2]}")
        log.asked(Suggestion(number, number, point))
        log.started(number, f"run{number}", point)
        log.ended(number, f"run{number}", Verdict.COMPLETE, reason="completed", end=End(EndState.COMPLETE, (number / 10,)))
    log.asked(Suggestion(11, 11, ("params.x=7.0", "params.kind=c")))
    return read_results(run_dir)


def test_trials_counts_and_the_best(results: SweepResults) -> None:
    assert {"complete": 10, "open": 1} == results.counts()
    assert [(1, ("params.x=0.1", "params.kind=b"))] == [(best.trial, best.overrides) for best in results.best()]
    assert (0.1, "b") == tuple(results.trials[0].value_of(dimension) for dimension in results.dimensions)
    assert "run1" == results.to_json()["trials"][0]["run"]


def test_what_mattered(results: SweepResults) -> None:
    found = importances(results)
    assert (10, 10) == (found.trials, found.needed)
    assert found.shares["params.x"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1.0)


def test_of_few_trials_nothing_is_said_to_have_mattered(results: SweepResults) -> None:
    few = replace(results, trials=results.trials[:9])
    found = importances(few)
    assert (9, 10, {}) == (found.trials, found.needed, found.shares)
    many = replace(results, dimensions=tuple(replace(X, key=f"params.x{number}") for number in range(4)))
    assert 20 == importances(many).needed


def test_the_same_sweep_has_the_same_pictures(results: SweepResults, tmp_path: Path) -> None:
    one, two = (write_pictures(results, tmp_path / name, importance=importances(results)) for name in ("one", "two"))
    assert ["sweep_history.png", "sweep_parallel.png", "sweep_slices.png", "sweep_importance.png"] == [path.name for path in one]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_slice_over_words_has_them_below_it(results: SweepResults) -> None:
    figure = draw_slices(results)
    figure.draw_without_rendering()  # only then are there labels
    assert {"a", "b"} == {label.get_text() for label in figure.axes[1].get_xticklabels()}


def test_words_on_the_lines_of_parallel_coordinates_can_be_read(results: SweepResults) -> None:
    words = draw_parallel(results).axes[0].texts
    assert {"a", "b"} < {word.get_text() for word in words}
    assert all(word.get_path_effects() for word in words)


def test_a_point_is_written_as_an_experiment_would_have_it() -> None:
    overrides = ["params.opt.lr=0.1", "params.hidden=[64,32]", "image=bookworm", "seed=3"]
    assert ({"image": "bookworm"}, {"params": {"opt": {"lr": 0.1}, "hidden": [64, 32]}, "seed": 3}) == as_file_content(overrides)

"""Which trial comes next, which shall stop, which is best; and that all of it can be told again."""

from __future__ import annotations

import itertools

import pytest

from launcher.config.spec import Pruner, Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.errors import ConfigError
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.search.samplers import make_search
from launcher.sweep.search.study import Study, Suggestion
from runtime.light_dataclasses import replace

X = Dimension("params.x", low=-1.0, high=1.0)
KIND = Dimension("params.kind", choices=("params.kind=a", "params.kind=b"), values=("a", "b"))
LEARNED = Sweep(sampler="tpe", trials=12, metric="loss")


def study_of(sweep: Sweep, *dimensions: Dimension, **more: object) -> Study:
    return Study(make_search(dimensions, sweep, where=lambda _key: None), dimensions, sweep, **more)  # type: ignore[arg-type]


def value(asked: Suggestion) -> float:
    """The loss that a program would have: least at 0.5 with b."""
    given = dict(override.split("=") for override in asked.overrides)
    return (float(given["params.x"]) - 0.5) ** 2 + (given["params.kind"] == "'a'" or given["params.kind"] == "a")


def complete(study: Study, asked: Suggestion, *values: float) -> None:
    study.tell(asked.number, End(EndState.COMPLETE, values))


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "qmc", "nsga2"])
def test_each_sampler_makes_its_trials_and_repeats_itself(sampler: str) -> None:
    made = []
    for _ in range(2):
        study = study_of(replace(LEARNED, sampler=sampler), X, KIND)
        trials = []
        while (asked := study.ask()) is not None:
            complete(study, asked, value(asked))
            trials.append(asked)
        made.append(trials)
    assert made[0] == made[1]
    assert 12 == len(made[0]) == study.total
    assert len(study.best()) == 1
    assert study.best()[0].values[0] == min(value(asked) for asked in made[0])


def test_learning_beats_chance() -> None:
    found: dict[str, list[float]] = {"random": [], "tpe": []}
    for sampler, seed in itertools.product(found, range(5)):
        study = study_of(replace(LEARNED, sampler=sampler, trials=40, seed=seed), X, KIND)
        while (asked := study.ask()) is not None:
            complete(study, asked, value(asked))
        found[sampler].append(study.best()[0].values[0])
    assert sorted(found["tpe"])[2] < sorted(found["random"])[2]


def test_trials_run_beside_each_other_without_hearing_of_the_first() -> None:
    study = study_of(LEARNED, X, KIND)
    asked = [study.ask() for _ in range(12)]
    assert study.ask() is None
    assert len({each.overrides for each in asked if each}) == 12


def test_a_point_with_seeds_is_learned_as_their_mean() -> None:
    study = study_of(replace(LEARNED, trials=2, seeds=3), X, KIND, base_seed=7)
    asked = list(iter(study.ask, None))
    assert 6 == len(asked) == study.total
    assert ["seed=7", "seed=8", "seed=9"] == [each.overrides[-1] for each in asked[:3]]
    assert [1, 1, 1, 2, 2, 2] == [each.point for each in asked]
    for each, loss in zip(asked, (1.0, 2.0, 3.0, 0.5, 9.5, 8.0), strict=True):
        complete(study, each, loss)
    assert (1, (2.0,), 3) == (study.best()[0].trial, study.best()[0].values, study.best()[0].seeds)


def test_asha_stops_the_worst_after_their_first_reports() -> None:
    sweep = replace(LEARNED, sampler="random", trials=9, pruner=Pruner(kind="asha", min_reports=1, reduction=3))
    study = study_of(sweep, X, KIND)
    asked = list(iter(study.ask, None))
    stopped = set()
    for step in range(4):
        for each in asked:
            if each.number not in stopped:
                stopped.update(study.report(each.number, float(each.number) + step / 10))
    assert 1 not in stopped
    assert {7, 8, 9} <= stopped


def test_seeds_of_one_point_are_stopped_together_when_all_have_reported() -> None:
    study = study_of(replace(LEARNED, sampler="random", trials=4, seeds=2, pruner=Pruner(kind="median")), X, KIND)
    asked = list(iter(study.ask, None))
    for each in asked[:-2]:
        assert () == study.report(each.number, 1.0)
        complete(study, each, 1.0)
    assert () == study.report(7, 50.0)
    assert {7, 8} == set(study.report(8, 70.0)) or () == study.report(8, 70.0)


def test_a_grid_can_be_pruned() -> None:
    grid = Sweep(sampler="grid", metric="loss", pruner=Pruner(kind="threshold", options={"upper": 10.0}))
    study = study_of(grid, KIND)
    first, second = study.ask(), study.ask()
    assert first
    assert second
    assert study.ask() is None
    assert (("params.kind=a",), ("params.kind=b",)) == (first.overrides, second.overrides)
    assert (1,) == study.report(1, 11.0)
    assert () == study.report(2, 9.0)


def test_several_objectives_have_a_front() -> None:
    study = study_of(replace(LEARNED, sampler="nsga2", metric=("loss", "ms"), trials=3), X, KIND)
    for values in ((1.0, 5.0), (2.0, 1.0), (3.0, 6.0)):
        asked = study.ask()
        assert asked
        complete(study, asked, *values)
    assert [1, 2] == [best.trial for best in study.best()]


def test_who_keeps_the_constraints_is_better() -> None:
    study = study_of(replace(LEARNED, trials=2, constraints=("ms <= 10",)), X, KIND)
    for loss, violation in ((0.1, 5.0), (0.9, -1.0)):
        asked = study.ask()
        assert asked
        study.tell(asked.number, End(EndState.COMPLETE, (loss,), (violation,)))
    assert [2] == [best.trial for best in study.best()]


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_study_that_is_told_again_goes_on_where_it_stopped(sampler: str) -> None:
    """As after a killed sweep: four trials are known, one of them still runs."""
    dimensions = (KIND, Dimension("seed", choices=tuple(f"seed={n}" for n in range(4)), values=tuple(range(4))))
    sweep = replace(LEARNED, sampler=sampler, trials=None if sampler == "grid" else 8, metric="loss")
    enqueued = [("params.kind=b", "seed=2")]
    first, again = (study_of(sweep, *dimensions, enqueued=enqueued) for _ in range(2))
    known = [first.ask() for _ in range(4)]
    for study in (first, again):
        for each in known:
            assert each
            if study is again:
                study.adopt(each)
            if each.number != 3:
                complete(study, each, each.number / 10)
    rest = list(iter(again.ask, None))
    assert list(range(5, 5 + len(rest))) == [each.number for each in rest]
    assert again.total == len(known) + len(rest)
    if sampler != "tpe":
        assert rest == list(iter(first.ask, None))
        assert len({each.overrides for each in (*known, *rest) if each}) == len(known) + len(rest)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_study_that_goes_on_with_fewer_trials_than_it_has_has_those(seeds: int) -> None:
    first = study_of(replace(LEARNED, sampler="random", trials=4, seeds=seeds), X)
    again = study_of(replace(LEARNED, sampler="random", trials=2, seeds=seeds), X)
    for asked in iter(first.ask, None):
        again.adopt(asked)
    assert (4 * seeds, 0) == (again.total, again.unasked)
    assert again.ask() is None


def test_a_trial_that_starts_again_reports_each_step_once() -> None:
    study = study_of(replace(LEARNED, pruner=Pruner(kind="patient", min_reports=3)), X, KIND)
    asked = study.ask()
    assert asked
    for _ in range(2):
        assert () == study.report(asked.number, 1.0)
    study.restart(asked.number)
    for _ in range(2):
        assert () == study.report(asked.number, 1.0)


@pytest.mark.parametrize(
    ("sweep", "words", "hint"),
    [
        (replace(LEARNED, sampler="tep"), "there is no sampler `tep`", "did you mean `tpe`?"),
        (replace(LEARNED, metric=None), "the sampler `tpe` learns from a metric, and none is named", None),
        (replace(LEARNED, sampler="cmaes", metric=("a", "b")), "the sampler `cmaes` optimises one metric, not 2", None),
        (replace(LEARNED, sampler_options={"n_startup": 3}), "has no option `n_startup`", "did you mean `n_startup_trials`?"),
        (replace(LEARNED, sampler="nowhere.at:All"), "cannot be imported: No module named 'nowhere'", None),
        (replace(LEARNED, sampler="json:dumps"), "has no option", None),
        (replace(LEARNED, pruner=Pruner(options={"reduction": 2})), "the pruner `asha` has no option `reduction`", None),
        (
            replace(LEARNED, pruner=Pruner(), metric=None, sampler="random"),
            "trials are pruned by one metric, and no metric is named",
            None,
        ),
    ],
)
def test_what_no_search_can_do_is_refused(sweep: Sweep, words: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        make_search((X, KIND), sweep, where=lambda _key: None)
    assert words in refused.value.message or words == "has no option"
    assert hint is None or hint == refused.value.hint


def test_a_sampler_of_ones_own() -> None:
    sweep = replace(LEARNED, sampler="optuna.samplers:BruteForceSampler", trials=2)
    assert study_of(sweep, KIND).ask() is not None


def test_an_interval_s_numbers_have_six_digits() -> None:
    assert "params.x=0.123457" == X.assignment(0.1234567)
    assert "params.x=1.0" == X.assignment(1.00000001)

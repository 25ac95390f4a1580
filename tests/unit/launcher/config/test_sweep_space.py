"""The points of a sweep: Hydra's grammar, the experiment's space, what fixes what, and errors before the first trial."""

from __future__ import annotations

import time

from tests.unit.launcher.config.conftest import Project, shown

MINE = """
command: [run]
params: {lr: 0.1, layers: [64], batch: 32}
sweep:
  space:
    params: {lr: "choice(0.3, 0.1)", layers: "choice([64], [64, 32])"}
"""


def test_six_trials_with_the_last_key_varying_fastest(project: Project) -> None:
    sweep = project.sweep("experiment=digits", "params.lr=0.1,0.01,0.001", "seed=1,2")
    assert [
        ("params.lr=0.1", "seed=1"),
        ("params.lr=0.1", "seed=2"),
        ("params.lr=0.01", "seed=1"),
        ("params.lr=0.01", "seed=2"),
        ("params.lr=0.001", "seed=1"),
        ("params.lr=0.001", "seed=2"),
    ] == [overrides for overrides, _ in sweep.trials]
    assert [(0.1, 1), (0.1, 2), (0.01, 1)] == [(spec.params["lr"], spec.seed) for _, spec in sweep.trials[:3]]
    assert ("experiment=digits",) == sweep.parent.overrides
    assert ("experiment=digits", "params.lr=0.1", "seed=2") == sweep.composed[1].overrides


def test_trial_equals_the_single_launch_of_its_overrides(project: Project) -> None:
    sweep = project.sweep("experiment=resnet", "image=debian,bookworm", "params.lr=0.1,0.5", "env.A=1.50,on", "memory=8GiB")
    for composed, (_, spec) in zip(sweep.composed, sweep.trials, strict=True):
        single = project.load(*composed.overrides)
        assert (single.spec, single.origins) == (spec, composed.origins)


def test_space_of_the_experiment_is_swept_by_m_alone(project: Project) -> None:
    project.experiment(MINE)
    assert [(0.3, [64]), (0.3, [64, 32]), (0.1, [64]), (0.1, [64, 32])] == [
        (spec.params["lr"], spec.params["layers"]) for _, spec in project.sweep("experiment=mine").trials
    ]


def test_plain_override_fixes_a_key_of_the_space(project: Project) -> None:
    project.experiment(MINE)
    trials = project.sweep("experiment=mine", "params.lr=0.7").trials
    assert [(0.7, [64]), (0.7, [64, 32])] == [(spec.params["lr"], spec.params["layers"]) for _, spec in trials]


def test_the_last_word_on_a_key_holds(project: Project) -> None:
    def points(*overrides: str) -> list[tuple[str, ...]]:
        return [point for point, _ in project.sweep("experiment=digits", *overrides).trials]

    assert [("params.lr=0.3",), ("params.lr=0.4",)] == points("params.lr=0.1,0.2", "params.lr=0.3,0.4")
    assert [("params.lr=0.3",), ("params.lr=0.4",)] == points("params.lr=0.1", "params.lr=0.3,0.4")
    fixed = project.sweep("experiment=digits", "params.lr=0.1,0.2", "seed=1,2", "params.lr=0.3").trials
    assert [(0.3, 1), (0.3, 2)] == [(spec.params["lr"], spec.seed) for _, spec in fixed]


def test_lists_on_the_command_line_are_the_whole_grid(project: Project) -> None:
    project.experiment(MINE)
    assert [("params.batch=1",), ("params.batch=2",)] == [
        overrides for overrides, _ in project.sweep("experiment=mine", "params.batch=1,2").trials
    ]


def test_groups_experiments_and_globs(project: Project) -> None:
    project.experiment("command: [run]\n", name="a1")
    project.experiment("command: [run]\n", name="a2")
    names = [spec.name for _, spec in project.sweep("experiment=glob(a*)", "seed=range(2)").trials]
    assert ["a1", "a1", "a2", "a2"] == names


def test_one_composition_serves_a_thousand_trials(project: Project) -> None:
    project.sweep("experiment=digits", "seed=1,2")
    started = time.process_time()
    assert 1000 == len(project.sweep("experiment=digits", "seed=range(1000)").trials)
    assert time.process_time() - started < 30  # composing each would take minutes


def test_seeds_repeat_each_point(project: Project) -> None:
    trials = project.sweep("experiment=digits", "params.lr=0.1,0.2", "sweep.seeds=2", "seed=5").trials
    assert [(0.1, 5), (0.1, 6), (0.2, 5), (0.2, 6)] == [(spec.params["lr"], spec.seed) for _, spec in trials]


def test_random_search_repeats_itself_and_stays_in_the_space(project: Project) -> None:
    first, second = (project.sweep("experiment=digits", "sweep=random", "sweep.trials=8").trials for _ in range(2))
    assert first == second
    assert 8 == len(first)
    assert all(1e-4 <= spec.params["lr"] <= 1e-1 and spec.params["batch_size"] in (32, 64, 128) for _, spec in first)


def test_random_search_tries_no_point_twice(project: Project) -> None:
    project.experiment(MINE)
    sweep = project.sweep("experiment=mine", "sweep=random", "sweep.trials=30")
    assert (4, True) == (len({overrides for overrides, _ in sweep.trials}), sweep.exhausted)
    assert not project.sweep("experiment=digits", "sweep=random", "sweep.trials=5").exhausted


def test_drawn_values_have_six_digits_and_keep_their_type(project: Project) -> None:
    project.experiment(
        "command: [run]\nparams: {lr: 0.1, rate: 1.0, layers: 2}\nsweep:\n  space:\n"
        '    params: {lr: "tag(log, interval(1e-7, 1e-1))", rate: "interval(0.9999999, 1.0)", layers: "int(interval(1, 50))"}\n'
    )
    for overrides, spec in project.sweep("experiment=mine", "sweep=random", "sweep.trials=12").trials:
        lr, rate, layers = (spec.params[name] for name in ("lr", "rate", "layers"))
        assert float(f"{lr:.6g}") == lr
        assert f"params.lr={lr!r}" == overrides[0]
        assert isinstance(rate, float)
        assert 0.9999999 <= rate <= 1.0
        assert isinstance(layers, int)


def test_enqueued_points_go_first(project: Project) -> None:
    project.experiment(MINE + "  enqueue: [{params: {lr: 9.0, layers: [1, 2]}}]\n")
    (first, spec), *_ = project.sweep("experiment=mine").trials
    assert ("params.lr=9.0", "params.layers=[1,2]") == first
    assert {"lr": 9.0, "layers": [1, 2], "batch": 32} == spec.params


def test_value_that_must_be_given_may_be_swept(project: Project) -> None:
    project.experiment("command: [run]\nparams:\n  lr: ???\n")
    assert [1, 2] == [spec.params["lr"] for _, spec in project.sweep("experiment=mine", "params.lr=1,2").trials]


def test_a_key_of_the_sweep_itself_is_not_swept(project: Project) -> None:
    error = shown(project.sweep_error("experiment=digits", "sweep=random", "sweep.space.params.lr=interval(0,1)"))
    assert "`sweep.space.params.lr` is of the sweep and not of a trial" in error
    assert "`params.lr=…`" in error
    assert "`sweep.trials` is of the sweep" in shown(project.sweep_error("experiment=digits", "sweep.trials=1,2"))


def test_interval_in_a_grid(project: Project) -> None:
    error = project.sweep_error("experiment=digits", "params.lr=interval(0,1)")
    assert (
        "error: `params.lr` is an interval, which a grid cannot enumerate\n  --> command line: params.lr=interval(0,1)\n\n"
        "hint: add `sweep=random` or `sweep=tpe`, or list values: `params.lr=…,…`"
    ) == shown(error)


def test_interval_of_the_file_has_its_line(project: Project) -> None:
    project.experiment('command: [run]\nparams: {lr: 1}\nsweep:\n  space:\n    params: {lr: "interval(0, 1)"}\n')
    assert "conf/experiment/mine.yaml:6" == str(project.sweep_error("experiment=mine").origin)


def test_key_of_the_space_that_does_not_exist(project: Project) -> None:
    project.experiment('command: [run]\nparams: {lr: 1}\nsweep:\n  space:\n    params: {lrr: "choice(0, 1)"}\n')
    assert ("error: unknown key `params.lrr`\n  --> conf/experiment/mine.yaml:6\n\nhint: did you mean `params.lr`?") == shown(
        project.sweep_error("experiment=mine")
    )


def test_space_with_a_plain_list(project: Project) -> None:
    project.experiment("command: [run]\nparams: {lr: 1}\nsweep:\n  space:\n    params: {lr: [0.1, 0.2]}\n")
    assert "write `choice(0.1, 0.2)`" == project.sweep_error("experiment=mine").hint


def test_nothing_to_sweep(project: Project) -> None:
    assert "there is nothing to sweep" == project.sweep_error("experiment=resnet").message


def test_bad_value_of_the_last_trial_is_found_before_the_first_starts(project: Project) -> None:
    error = project.sweep_error("experiment=digits", "seed=1,2,drei")
    assert ("`seed` must be a whole number, not `drei`", "command line: seed=drei") == (error.message, str(error.origin))


def test_an_enqueued_point_has_the_experiment_s_own_values_for_the_rest(project: Project) -> None:
    project.experiment(MINE + "  enqueue: [{params: {lr: 0.3}}]\n")
    trials = [overrides for overrides, _ in project.sweep("experiment=mine").trials]
    assert ("params.lr=0.3", "params.layers=[64]") == trials[0]
    assert 4 == len(trials) == len(set(trials))


def test_an_enqueued_key_that_does_not_exist(project: Project) -> None:
    project.experiment(MINE + "  enqueue: [{params: {lrr: 0.3}}]\n")
    assert "unknown key `params.lrr`" == project.sweep_error("experiment=mine").message


def test_ranges_have_steps_and_intervals_have_ends(project: Project) -> None:
    space = project.space(
        "experiment=digits",
        "sweep=random",
        "params.epochs=range(2,9,2)",
        "params.lr=tag(log,interval(1e-4,0.1))",
        "seed=int(interval(1,5))",
    )
    epochs, lr, seed, _batch = space.dimensions
    assert (2, 8, 2, True, ("params.epochs=2", "params.epochs=4", "params.epochs=6", "params.epochs=8")) == (
        epochs.low,
        epochs.high,
        epochs.step,
        epochs.integer,
        epochs.choices,
    )
    assert (1e-4, 0.1, True, False) == (lr.low, lr.high, lr.log, lr.integer)
    assert (True, "seed=3") == (seed.integer, seed.assignment(3.0))

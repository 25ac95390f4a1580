"""What `import launcher` gives: names that cost nothing until they are used, errors with hints, rows and columns."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from journal_lines import write_event

import launcher
from launcher.config.project import list_experiments
from launcher.library.command import do, lines_of
from launcher.tracking.record.chosen_runs import choose_runs
from launcher.tracking.record.find_runs import list_runs
from launcher.tracking.record.run_fields import rows
from runtime.state_dir import StateDir

HEAVY = ("hydra", "pydantic", "mlflow", "yaml", "optuna", "rich", "numpy", "matplotlib", "IPython")


@pytest.fixture
def state(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """LAUNCH_HOME, with two runs that have ended: 0000a1 well, 0000b2 not."""
    monkeypatch.setenv("LAUNCH_HOME", str(state.root))
    for at, (run_id, lr, code) in enumerate((("0000a1", 0.1, 0), ("0000b2", 0.2, 3)), 100):
        run_dir = state.run(run_id)
        run_dir.root.mkdir()
        write_event(run_dir.journal, "created", at=at, experiment="digits", params={"lr": lr})
        write_event(run_dir.journal, "started", at=at + 1, attempt=1)
        write_event(run_dir.journal, "finished", at=at + 2.5, reason="program" if code else "completed", exit_code=code)
        run_dir.last_metrics.write_text(json.dumps({"loss": lr}))
    points = [("loss", 0.5, 1), ("loss", 0.25, 2), ("loss", 0.125, 2), ("acc", 0.9, 2), ("step", 7, 1), ("system/cpu", 50, 1)]
    logged = [{"key": key, "value": value, "step": step, "time": 1000 + step} for key, value, step in points]
    state.run("0000a1").logged.write_text("".join(json.dumps(point) + "\n" for point in logged))
    return state


def test_importing_launcher_and_its_names_costs_no_heavy_library() -> None:
    code = "import launcher, sys\nfor name in launcher.__all__: getattr(launcher, name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "launcher.library.runs" in loaded
    assert [] == [name for name in HEAVY if name in loaded]


def test_import_alone_loads_nothing_of_ours() -> None:
    """Each command imports this package first."""
    code = "import launcher, sys\nprint(*(name for name in sys.modules if name.startswith(('launcher.', 'runtime'))))"
    assert "" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_each_public_name_is_there_and_no_other_one() -> None:
    assert [] == [name for name in launcher.__all__ if getattr(launcher, name).__name__ != name]
    assert set(launcher.__all__) <= set(dir(launcher))
    with pytest.raises(AttributeError, match="'launcher' has no attribute 'lunch'"):
        launcher.lunch  # type: ignore[attr-defined]  # noqa: B018
    assert (Path(launcher.__file__).parent / "py.typed").is_file()


def test_a_wrong_request_is_the_error_that_the_command_prints(tmp_path: Path, state: StateDir) -> None:
    near = list_experiments(config_dir=None, cwd=tmp_path, environ={})[0].name
    with pytest.raises(launcher.ConfigError) as failed:
        launcher.launch(f"{near}x", {"params.lr": 0.1}, project=tmp_path)
    error = failed.value
    assert (f"no experiment `{near}x`", f"did you mean `experiment={near}`?") == (error.message, error.hint)
    assert f"command line: experiment={near}x" == str(error.origin)
    shown = "".join(traceback.format_exception_only(error)).splitlines()
    assert [f"  --> command line: experiment={near}x", f"hint: did you mean `experiment={near}`?"] == shown[1:]


def test_a_failure_has_its_hint_in_the_traceback_once(state: StateDir) -> None:
    """`rerun` asks `get_run`, and both show hints."""
    with pytest.raises(launcher.ConfigError) as failed:
        launcher.rerun("zzz")
    assert ["hint: `launch runs` lists them; `@last` is the latest"] == failed.value.__notes__


def test_an_exit_code_that_no_failure_explains_is_an_error(state: StateDir) -> None:
    with pytest.raises(launcher.LaunchError, match="`launch wait 0000b2` ended with exit code 3"):
        do(["wait", "0000b2"], quiet=True)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(launcher.ConfigError, match="no such directory: `/nowhere`"):
        launcher.plan_launch("digits", project="/nowhere")


def test_options_cannot_be_slipped_in_as_overrides() -> None:
    with pytest.raises(launcher.ConfigError, match="`--tty` is no override"):
        launcher.launch("digits", "--tty")


def test_runs_are_rows_by_the_names_that_where_and_sort_have(state: StateDir) -> None:
    found = launcher.runs(where="metrics.loss > 0.01", sort="metrics.loss desc")
    assert [("0000b2", "FAILED", 0.2), ("0000a1", "FINISHED", 0.1)] == [
        (row["run"], row["status"], row["params.lr"]) for row in found
    ]
    assert [{"run": "0000b2", "duration": 1.5}] == launcher.runs(n=1, columns=["run", "duration"])
    records = list_runs(state)
    assert rows(choose_runs(records, where="exit_code = 0")) == launcher.runs(where="exit_code = 0")
    with pytest.raises(launcher.ConfigError, match=r"no run has `metrics\.los`"):
        launcher.runs(columns=["metrics.los"])


def test_metrics_are_columns_with_none_where_a_step_has_no_value(state: StateDir) -> None:
    """The later of two values at a step counts; the machine's own samples, and a metric called `step`, are left out."""
    run = launcher.get_run("0000a")
    assert {"step": [1, 2], "loss": [0.5, 0.125], "acc": [None, 0.9]} == run.metrics
    assert ({"loss": 0.1}, {"lr": 0.1}, "FINISHED", 0) == (run.last_metrics, run.params, run.status, run.exit_code)


def test_a_run_is_the_same_whoever_found_it(state: StateDir) -> None:
    assert {launcher.get_run("0000a1")} == {launcher.get_run("@last~1"), launcher.Run("0000a1")}
    assert "<Run 0000a1 digits FINISHED>" == repr(launcher.get_run("0000a1"))


def test_waiting_for_a_failed_run_raises_unless_it_is_asked_not_to(state: StateDir) -> None:
    run = launcher.get_run("0000b2")
    run.wait(check=False)
    with pytest.raises(launcher.RunFailed, match="run `0000b2` of digits has ended FAILED: program, exit code 3"):
        run.wait()


def test_a_run_that_was_removed_says_so(state: StateDir) -> None:
    with pytest.raises(launcher.ConfigError, match="run `0000c3` is not in"):
        _ = launcher.Run("0000c3").status


def test_the_log_of_no_run_is_an_error(state: StateDir) -> None:
    with pytest.raises(launcher.ConfigError, match="no run `0000c3`"):
        list(launcher.Run("0000c3").logs())


def test_an_iterator_that_is_left_ends_its_command(state: StateDir) -> None:
    lines = lines_of(["--help"])
    assert "launch: " in next(lines)
    lines.close()
    with pytest.raises(StopIteration):
        next(lines)


def test_a_relative_home_is_the_one_that_the_caller_sees(
    state: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(state.root.parent)
    monkeypatch.setenv("LAUNCH_HOME", state.root.name)
    assert "0000b2" in do(["runs"], project=tmp_path)

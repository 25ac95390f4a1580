"""Curves are drawn in the terminal and as files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from launcher.cli.plots.metrics import labels_of
from launcher.cli.plots.picture import check_format, draw_plots, plot_of, write_plots
from launcher.cli.plots.terminal import Canvas, plot_lines
from launcher.errors import ConfigError
from launcher.run.compare.curve import Curve, read_curves
from runtime.state_dir import RunDir

FALLING = Curve((1.0, 2.0, 3.0), (0.0, 0.5, 1.0), (1.0, 0.1, 0.01))


def test_a_line_of_dots_is_a_line_of_letters() -> None:
    canvas = Canvas(3, 1)
    canvas.line((0, 0), (5, 0), 1)
    assert [canvas.cell(column, 0) for column in range(3)] == [("⣀", 1)] * 3
    canvas.dot(99, 99, 0)


def test_a_picture_shows_range_and_legend() -> None:
    lines = list(plot_lines(plot_of("loss", [("7f3a", FALLING)], over_time=False, log_y=True), columns=40, rows=5))
    assert lines[0] == "loss"
    assert lines[1].lstrip().startswith("1 ┤")
    assert lines[5].lstrip().startswith("0.01 ┤")
    assert lines[7].split() == ["1", "3", "steps"]
    assert lines[8].split() == ["━━", "7f3a"]
    assert max(map(len, lines)) <= 40


def test_what_cannot_be_drawn_is_left_out() -> None:
    curve = Curve((1.0, 2.0, 3.0), (0.0, 1.0, 2.0), (math.nan, -1.0, 1.0))
    assert len(list(plot_lines(plot_of("loss", [("a", curve)], over_time=True, log_y=True), columns=40, rows=5))) == 9
    empty = Curve((1.0,), (0.0,), (math.inf,))
    assert list(plot_lines(plot_of("loss", [("a", empty)], over_time=True, log_y=False), columns=40, rows=5)) == [
        "loss: no value that can be drawn"
    ]


def test_smoothing_starts_at_the_first_value() -> None:
    plot = plot_of("loss", [("a", FALLING)], over_time=True, log_y=False, smooth=0.5)
    assert plot.curves[0].points[0] == (0.0, 1.0)
    assert plot.curves[0].points[1][1] == pytest.approx((0.25 * 1.0 + 0.5 * 0.1) / 0.75)


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_plot_gives_the_same_file(ending: str, start: bytes, tmp_path: Path) -> None:
    plot = plot_of("loss", [("a", FALLING)], over_time=False, log_y=True)
    for name in ("one", "two"):
        write_plots([plot], tmp_path / f"{name}.{ending}")
    written = (tmp_path / f"one.{ending}").read_bytes()
    assert written.startswith(start)
    assert written == (tmp_path / f"two.{ending}").read_bytes()


def test_the_legend_of_many_curves_lies_beside_them() -> None:
    many = [(f"{number:06x} params.lr=0.{number}", FALLING) for number in range(30)]
    figure = draw_plots([plot_of("loss", many, over_time=False, log_y=False)])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend.get_window_extent().x0 > axes.get_window_extent().x1
    assert ("and 10 more", 20) == (legend.get_title().get_text(), len(legend.get_texts()))
    assert 30 == len({tuple(line.get_color()) for line in axes.lines})


def test_a_picture_is_as_wide_as_its_legend(tmp_path: Path) -> None:
    for name in ("short", "long"):
        plot = plot_of("loss", [(name * 20, FALLING), ("b", FALLING)], over_time=False, log_y=False)
        write_plots([plot], tmp_path / f"{name}.png")
    short, long = (int.from_bytes((tmp_path / f"{name}.png").read_bytes()[16:20]) for name in ("short", "long"))
    assert (960 < short, short != long) == (True, True)


def test_a_curve_is_called_by_what_the_others_have_not() -> None:
    typed = {"a1": ("experiment=x", "sweep=tpe", "params.lr=1"), "b2": ("experiment=x", "sweep=tpe", "params.lr=2")}
    assert {"a1": "a1 params.lr=1", "b2": "b2 params.lr=2"} == labels_of(typed)
    assert {"a1": "a1 sweep=tpe params.lr=1"} == labels_of({"a1": typed["a1"]})


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="no format that can be written"):
        check_format(Path("x.gif"))


def test_curves_are_read_from_reports_and_samples(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    points = [
        {"key": "loss", "value": "NaN", "step": 1, "time": 1000},
        {"key": "loss", "value": 0.5, "step": 2, "time": 3500},
        {"tag": "x"},
    ]
    run_dir.logged.write_text("".join(json.dumps(point) + "\n" for point in points) + "no json\n")
    run_dir.system_metrics.write_text('{"time": 5.0, "cpu_utilization_percentage": 50}\n')
    curves = read_curves(run_dir)
    assert (curves["loss"].steps, curves["loss"].seconds, curves["loss"].values[1]) == ((1.0, 2.0), (0.0, 2.5), 0.5)
    assert curves["system/cpu_utilization_percentage"] == Curve((0.0,), (0.0,), (50.0,))

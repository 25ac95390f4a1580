"""Requests that keep MLflow's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.tracking.metrics.metric_log import metric
from launcher.tracking.mlflow.rest import Batch, batches, fitting_key, fitting_value, param_entries, tag_entries


def sizes(found: list[Batch]) -> list[tuple[int, int, int]]:
    return [(len(batch.metrics), len(batch.params), len(batch.tags)) for batch in found]


def test_a_thousand_metrics_are_a_batch() -> None:
    found = list(batches(metric("loss", 1.0, step=step, time_ms=1) for step in range(2500)))
    assert [(1000, 0, 0), (1000, 0, 0), (500, 0, 0)] == sizes(found)
    assert list(range(2500)) == [point["step"] for batch in found for point in batch.metrics]


def test_a_hundred_params_or_tags_are_a_batch() -> None:
    assert [(0, 100, 0), (0, 50, 0)] == sizes(list(batches(param_entries({f"p{number}": "x" for number in range(150)}))))
    assert [(0, 0, 100), (0, 0, 1)] == sizes(list(batches(tag_entries({f"t{number}": "x" for number in range(101)}))))


def test_a_batch_stays_below_a_megabyte() -> None:
    for batch in batches(param_entries({f"p{number}": "ü" * 6000 for number in range(200)})):
        assert len(json.dumps(batch.request("r")[1])) < 1_000_000


def test_what_is_kept_as_it_came_keeps_its_place() -> None:
    entries: list[dict[str, Any]] = [
        metric("a", 1.0, step=0, time_ms=1),
        {"post": "runs/log-inputs", "body": {"datasets": [1]}},
        {"tag": "t", "value": "v"},
    ]
    assert ["runs/log-batch", "runs/log-inputs", "runs/log-batch"] == [batch.request("r")[0] for batch in batches(entries)]
    assert {"datasets": [1], "run_id": "r"} == list(batches(entries))[1].request("r")[1]


def test_a_refused_batch_falls_apart_into_its_entries() -> None:
    (batch,) = batches([metric("a", 1.0, step=0, time_ms=1), {"param": "p", "value": "1"}, {"tag": "t", "value": "2"}])
    assert [(1, 0, 0), (0, 1, 0), (0, 0, 1)] == sizes(list(batch.singles()))


@pytest.mark.parametrize(
    ("key", "fitting"),
    [("layers[0]", "layers.0"), ("a[b][c]", "a.b.c"), ("x%", "x_"), ("/a//b/../c", "a/b/c"), ("", "_"), ("k" * 300, "k" * 250)],
)
def test_names_are_made_to_fit(key: str, fitting: str) -> None:
    assert fitting == fitting_key(key)
    assert fitting == fitting_key(fitting)


def test_a_value_that_was_cut_shows_it() -> None:
    assert "abc" == fitting_value("abc", 3)
    assert "ab…" == fitting_value("abcd", 3)

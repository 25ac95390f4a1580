"""Entries of `logged.jsonl` as requests that MLflow takes (mlflow/utils/validation.py). Pure.

A batch: at most 1000 metrics, 100 params, 100 tags, 1000 in all, 1 MB; keys at most 250 characters of `[\\w\\-. :/]`; param
values 6000 and tag values 8000 characters. The launcher's own names are adapted (`a[0]` → `a.0`); what the program sends
through the gateway was judged there, as the server would have judged it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

KEY_MAX = 250
PARAM_MAX = 6000
TAG_MAX = 8000

_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
_TOTAL_MAX = 1000
_POINT_FIELDS = 4
_BYTES_MAX = 900_000
_FOREIGN = re.compile(r"[^\w\-. :/]")
_INDEX = re.compile(r"\[(\w+)\]")


@dataclass(slots=True)
class Batch:
    """One request: a log-batch, or something kept as it came."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    params: list[dict[str, str]] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    post: tuple[str, dict[str, Any]] | None = None
    count: int = 0
    """Entries in it, also those that say nothing."""
    size: int = 0

    def request(self, run_id: str) -> tuple[str, dict[str, Any]]:
        """Endpoint and body."""
        if self.post is not None:
            endpoint, body = self.post
            return endpoint, {**body, "run_id": run_id}
        return "runs/log-batch", {"run_id": run_id, "metrics": self.metrics, "params": self.params, "tags": self.tags}

    def singles(self) -> Iterator[Batch]:
        """The same entries, each alone: to find the one that the server refuses."""
        yield from (Batch(metrics=[item], count=1) for item in self.metrics)
        yield from (Batch(params=[item], count=1) for item in self.params)
        yield from (Batch(tags=[item], count=1) for item in self.tags)


def batches(entries: Iterable[dict[str, Any]]) -> Iterator[Batch]:
    """Entries in their order, as few requests as the limits allow."""
    batch = Batch()
    for entry in entries:
        if "post" in entry:
            if batch.count:
                yield batch
            yield Batch(post=(entry["post"], entry["body"]), count=1)
            batch = Batch()
            continue
        kind, item = _item(entry)
        size = len(json.dumps(item)) + 2
        if not _fits(batch, kind, size):
            yield batch
            batch = Batch()
        if kind is not None:
            getattr(batch, kind).append(item)
        batch.count += 1
        batch.size += size
    if batch.count:
        yield batch


def one_batch(entries: Iterable[dict[str, Any]]) -> Batch | None:
    """All entries, for a server without limits; None when one is a request of its own, or a metric of a model or a dataset."""
    batch = Batch()
    for entry in entries:
        kind, item = _item(entry)
        if "post" in entry or len(item) > _POINT_FIELDS:
            return None
        if kind is not None:
            getattr(batch, kind).append(item)
    return batch


def tag_entries(tags: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Tags of the launcher as entries."""
    return ({"tag": fitting_key(key), "value": fitting_value(value, TAG_MAX)} for key, value in tags.items())


def param_entries(params: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Params of the launcher as entries."""
    return ({"param": fitting_key(key), "value": fitting_value(value, PARAM_MAX)} for key, value in params.items())


@lru_cache(4096)  # the same few names come a thousand times a second
def fitting_key(key: str) -> str:
    """*key* as MLflow allows it."""
    fitting = _FOREIGN.sub("_", _INDEX.sub(r".\1", key))[:KEY_MAX]
    # Its own rule: a key must be its own normalised path (no `a//b`, no `../`, no leading slash).
    parts = [part for part in fitting.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "_"


def is_fitting_key(key: str) -> bool:
    return key == fitting_key(key)


def fitting_value(value: str, longest: int) -> str:
    """*value*, cut so that one sees that it was: the server would cut it silently."""
    return value if len(value) <= longest else value[: longest - 1] + "…"


def _item(entry: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    if "key" in entry:
        item = {"key": fitting_key(entry["key"]), "value": entry["value"], "timestamp": entry["time"], "step": entry["step"]}
        for extra in ("model_id", "dataset_name", "dataset_digest"):
            if extra in entry:
                item[extra] = entry[extra]
        return "metrics", item
    if "param" in entry:
        return "params", {"key": entry["param"], "value": entry["value"]}
    if "tag" in entry:
        return "tags", {"key": entry["tag"], "value": entry["value"]}
    return None, {}


def _fits(batch: Batch, kind: str | None, size: int) -> bool:
    if batch.count >= _TOTAL_MAX or (batch.count and batch.size + size > _BYTES_MAX):
        return False
    return kind is None or len(getattr(batch, kind)) < _LIMITS[kind]

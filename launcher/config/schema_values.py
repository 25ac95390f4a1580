"""The kinds of values that keys of the schema have: durations, sizes, names, versions; and what is said of one that is none.

A part of `schema.py`, and of its door to pydantic.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from launcher.config import databricks
from launcher.config.metric_pattern import value_group
from launcher.config.quantities import seconds, size_bytes
from runtime.network.published import parse as parse_port
from runtime.suggestions import did_you_mean


def matching(pattern: str, meaning: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str | None) -> str | None:
        if value is not None and not compiled.fullmatch(value):
            raise ValueError(meaning)
        return value

    return AfterValidator(check)


def whole_above_one(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError("`gpus` is a number; requirements for each GPU go to `gpu.model`, `gpu.memory`")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError("not a number of GPUs: `all` takes all of this machine")
        if value < 0:
            raise ValueError("a number of GPUs cannot be negative")
        if isinstance(value, float) and value > 1 and value != int(value):
            raise ValueError("a part of a GPU is less than 1 (`0.25`); more than one are whole (`2`)")
        return int(value) if value == int(value) else value
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


def _metric_pattern(value: str) -> str:
    value_group(re.compile(_regular_expression(value)))
    return value


def _not_databricks(value: str) -> str:
    if databricks.is_databricks(value):
        raise ValueError(f"{databricks.WHY}: {databricks.INSTEAD}")
    return value


def network_word(value: str) -> str:
    if value in NETWORKS:
        return value
    hint = did_you_mean(value.lower(), NETWORKS, cutoff=0.75)
    if hint is not None:
        raise ValueError(f"too near to a word that means something: {hint}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", value):
        raise ValueError("not a name for a network: up to 32 letters, digits, `_`, `-` and `.`")
    return value


def _place_in_container(value: str) -> str:
    if not value.startswith("/") or not value.strip("/."):
        raise ValueError("not a path in the container: it must begin with `/`")
    parts = value.split("/")
    if ".." in parts:
        raise ValueError("not a plain path in the container: it has `..` in it")
    first = next(part for part in parts if part not in ("", "."))
    if first in ("proc", "sys"):
        raise ValueError(f"not a place of yours: `/{first}` is the kernel's")
    return value


def published_port(value: str) -> str:
    parse_port(value)
    return value


def receiver(value: str | list[str] | None) -> str | list[str] | None:
    if isinstance(value, str) and not re.match(r"https?://[^/\s]", value):
        raise ValueError("not an http(s) address; a command is a list of words: `[notify-send, done]`")
    if isinstance(value, list) and not (value and value[0]):
        raise ValueError("a command without a word")
    return value


NETWORKS = ("none", "host", "bridge", "pasta")
"""Words of `network` that mean something; any other is the name of a network that runs share."""

Duration = Annotated[float | None, BeforeValidator(seconds)]
Size = Annotated[int | None, BeforeValidator(size_bytes)]
Variable = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "not a variable's name: letters, digits and `_` only")]
Plain = Annotated[str, matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "not a plain name: letters, digits, `_`, `-` and `.` only")]
InContainer = Annotated[str, AfterValidator(_place_in_container)]
OnNode = Annotated[str, matching(r"[/$].+", "not a path on a node: it must begin with `/` or with a `$VARIABLE`")]
Python = Annotated[str, matching(r"3\.\d+(\.\d+)?", "not a Python version: write `3.11` or `3.13`")]
Cuda = Annotated[str, matching(r"auto|cpu|\d+\.\d+", "not a CUDA variant: write `auto`, `cpu` or a version like `12.8`")]
_PROFILE = r"\d+g\.\d+gb(\+[a-z.]+)*"
MigProfile = Annotated[
    str,
    matching(
        rf"any|{_PROFILE}(\|{_PROFILE})*", "not a MIG profile: write one like `1g.10gb`, several as `1g.10gb|2g.20gb`, or `any`"
    ),
]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
MetricPattern = Annotated[str, AfterValidator(_metric_pattern)]
MetricName = Annotated[str, matching(r"[\w\-. :/]{1,250}", "not a metric's name: letters, digits and `_-. :/` only")]
BuildGpu = Annotated[
    str, matching(r"auto|\d+\.\d+|gfx[0-9a-f]+", "not `auto`, nor a compute capability like `9.0`, nor AMD's name like `gfx942`")
]
Capability = Annotated[str, matching(r"\d+\.\d+", "not a compute capability: write one like `8.0`")]
ServerUri = Annotated[
    str,
    AfterValidator(_not_databricks),
    matching(r"https?://.+", "not the address of an MLflow server: it must begin with `http://` or `https://`"),
]
AtLeastOne = Annotated[int, Field(ge=1)]

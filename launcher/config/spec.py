"""ExperimentSpec: what a person asked for, checked and resolved. Frozen dataclasses; pydantic lives only in `schema.py`.

The tree, names and defaults are those of `schema.py` (a test holds the two together). Durations are seconds, sizes bytes.
`to_json`/`from_json` carry a spec through the compiled configuration, the plan and the record.
"""

from __future__ import annotations

import types
import typing
from typing import Any, TypeVar

from runtime.light_dataclasses import dataclass, field, fields, is_dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Group:
    """Additions to an image that join instead of replacing (`image.groups.NAME`)."""

    apt: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """Where wheels come from, beside the user's own pip and uv settings."""

    url: str | None = None
    extra_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    exclude_newer: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    base: str = "bootstrap:debian/trixie"
    python: str | None = None
    cuda: str | None = None
    dockerfile: str | None = None
    context: str | None = None
    target: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    apt: tuple[str, ...] = ()
    requirements: str | tuple[str, ...] = ()
    groups: dict[str, Group] = field(default_factory=dict)
    run: tuple[str, ...] = ()
    gpu: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    mirror: str | None = None


@dataclass(frozen=True, slots=True)
class Code:
    root: str = "."
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """Requirements for each GPU."""

    model: str | None = None
    memory: int | None = None
    capability: str | None = None
    topology: str = "any"
    mig: str | None = None
    require: str = "check"
    stop_when_idle: float | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    target: str | None = None
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class Outputs:
    keep: tuple[str, ...] = ("**",)
    max_size: int | None = None
    workspace: tuple[str, ...] = ("**",)
    workspace_max_size: int | None = 1 << 30


@dataclass(frozen=True, slots=True)
class Metrics:
    file: bool = True
    tensorboard: bool = False
    patterns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tracking:
    uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    scope: str = "run"
    artifacts: bool = True
    system_metrics: float | None = 10.0


@dataclass(frozen=True, slots=True)
class Dev:
    idle: float | None = 7200.0
    gpu_idle: float | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    kind: str = "local"
    priority: int = 0
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: float | None = None
    interface: str | None = None
    mpi: str = "none"
    requeue: bool = False
    setup: tuple[str, ...] = ()
    sbatch: dict[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    scratch: str | None = None
    node_store: str | None = None
    node_store_size: int | None = None
    build: str = "here"
    build_partition: str | None = None


@dataclass(frozen=True, slots=True)
class Pruner:
    kind: str = "asha"
    min_reports: int = 1
    reduction: int = 3
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sweep:
    sampler: str = "grid"
    trials: int | None = None
    sampler_options: dict[str, Any] = field(default_factory=dict)
    metric: str | tuple[str, ...] | None = None
    direction: str | tuple[str, ...] = "minimize"
    value: str = "last"
    constraints: tuple[str, ...] = ()
    space: dict[str, Any] = field(default_factory=dict)
    seeds: int = 1
    parallel: int | None = None
    seed: int = 0
    pruner: Pruner | None = None
    enqueue: tuple[dict[str, Any], ...] = ()
    timeout: float | None = None
    on_failure: str = "continue"
    max_failures: int | None = None
    retries: int = 0
    on_oom: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is optimised; more than one: the trials that no other one beats in all are the best."""
        if self.metric is None:
            return ()
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def directions(self) -> tuple[str, ...]:
        """`minimize` or `maximize`, one a metric (and one where there is none)."""
        count = max(1, len(self.metrics))
        return (self.direction,) * count if isinstance(self.direction, str) else self.direction


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """One experiment, resolved. Paths are absolute; `command` is still unfilled words (see `plan.command`)."""

    name: str
    command: tuple[Any, ...] = ()
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    image: Image = field(default_factory=Image)
    code: Code = field(default_factory=Code)
    workdir: str = "/workspace"
    processes: int | str = 1
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    deterministic: bool = False
    env: dict[str, str] = field(default_factory=dict)
    gpus: int | float | str = 0
    gpu: Gpu = field(default_factory=Gpu)
    devices: tuple[str, ...] = ()
    nodes: int = 1
    cpus: int | float | None = None
    memory: int | None = None
    shm: int | None = None
    network: str = "none"
    publish: tuple[str, ...] = ()
    data: dict[str, Mount] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    outputs: Outputs = field(default_factory=Outputs)
    metrics: Metrics = field(default_factory=Metrics)
    timeout: float | None = None
    grace: float = 30.0
    retries: int = 0
    retry_on: tuple[str, ...] = ()
    tracking: Tracking | None = field(default_factory=Tracking)
    notify: str | tuple[str, ...] | None = None
    cluster: Cluster = field(default_factory=Cluster)
    dev: Dev = field(default_factory=Dev)
    sweep: Sweep | None = None


def to_json(value: Any) -> dict[str, Any]:
    """*value* (a dataclass) as plain JSON data; tuples become lists."""
    return typing.cast(dict[str, Any], _plain(value))


_SCALARS = frozenset((str, int, float, bool, type(None)))


def _plain(value: Any) -> Any:
    # Not `dataclasses.asdict`, which copies every word and number: each trial of a sweep is written down.
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        # Rows (the files of a plan, say) hold plain values only, and may be thousands.
        return list(map(list if value and type(value[0]) is tuple else _plain, value))
    if kind in _NAMES or is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in field_names(kind)}
    return value


def to_record(spec: ExperimentSpec) -> dict[str, Any]:
    """*spec* as what outlives a launch has it. Without `notify`: whom its own configuration tells is nobody else's affair, and no
    record makes another launch execute a command (docs/decisions/298-…)."""
    return {name: value for name, value in to_json(spec).items() if name != "notify"}


def from_json(cls: type[T], document: dict[str, Any]) -> T:
    """The dataclass *cls* from what `to_json` wrote. Trusted input: ours, not a person's."""
    hints = _hints(cls)
    values = {f.name: _convert(hints[f.name], document[f.name]) for f in fields(cls) if f.name in document}  # type: ignore[arg-type]
    return cls(**values)


_NAMES: dict[type, tuple[str, ...]] = {}


def field_names(cls: type) -> tuple[str, ...]:
    """Of a dataclass, in their order."""
    if cls not in _NAMES:
        _NAMES[cls] = tuple(each.name for each in fields(cls))
    return _NAMES[cls]


_HINTS: dict[type, dict[str, Any]] = {}


def know_fields(cls: type) -> None:
    """Let `from_json` know the types of *cls* and of what it holds: asking `typing` for them is most of its time."""
    for hint in _hints(cls).values():
        for part in (hint, *typing.get_args(hint)):
            if is_dataclass(part) and part not in _HINTS:
                know_fields(typing.cast(type, part))


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def _convert(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        for option in typing.get_args(hint):
            if (is_dataclass(option) and isinstance(value, dict)) or (
                typing.get_origin(option) is tuple and isinstance(value, list)
            ):
                return _convert(option, value)
        return value
    if origin is tuple:
        return tuple(_convert(typing.get_args(hint)[0], item) for item in value)
    if origin is dict:
        return {key: _convert(typing.get_args(hint)[1], item) for key, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    return value

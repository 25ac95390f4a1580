"""The schema of an experiment: every key with its type, default, description and an example.

A door to pydantic; kinds of values are `schema_values.py`. Strict, frozen, nothing unknown allowed. `validate.py` turns a checked
model into the dataclasses of `spec.py`;
`compose.py` makes Hydra's `schema` node from the defaults here; `reference.py` writes the documentation page.
Only values are judged here: files, GPUs and indexes are looked at by the planner, since a compiled configuration skips this.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from launcher.config.quantities import seconds
from launcher.config.schema_values import (
    AtLeastOne,
    BuildGpu,
    Capability,
    Cuda,
    Duration,
    InContainer,
    MetricName,
    MetricPattern,
    MigProfile,
    OnNode,
    Pattern,
    Plain,
    Python,
    ServerUri,
    Size,
    Variable,
    matching,
    network_word,
    published_port,
    receiver,
    whole_above_one,
)


def _key(default: Any, description: str, example: Any) -> Any:
    return Field(default, description=description, examples=[example], validate_default=False)


class Section(BaseModel):
    """One mapping of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Group(Section):
    """Additions to an image that join instead of replacing."""

    apt: list[str] = _key([], "Debian packages to add.", ["ffmpeg"])
    requirements: list[str] = _key([], "Python requirements to add.", ["humanize>=4"])
    run: list[str] = _key([], "Shell commands to run while the image is built.", ["ldconfig"])


class Index(Section):
    """Where wheels come from, beside your own pip and uv settings."""

    url: str | None = _key(None, "Index that takes the place of the default one.", "https://pypi.lab/simple")
    extra_urls: list[str] = _key([], "Indexes asked in addition.", ["https://wheels.lab/simple"])
    find_links: list[str] = _key([], "Directories or pages that list wheels.", ["wheels/"])
    constraints: list[str] = _key([], "Constraint files.", ["constraints.txt"])
    exclude_newer: str | None = _key(None, "Ignore whatever was published after this date.", "2026-10-01")


class Image(Section):
    """What the program runs on."""

    base: str = _key(
        "bootstrap:debian/trixie",
        "Where the image starts: `bootstrap:debian/SUITE` (made here from the Debian archive), `oci:DIR`, "
        "`docker-archive:FILE`, or a name in the store or in a registry.",
        "bootstrap:debian/bookworm",
    )
    python: Python | None = _key(None, "Python that the base must have; a base that has it is taken where none is named.", "3.11")
    cuda: Cuda | None = _key(
        None, "Which build of CUDA-dependent wheels: null leaves the index alone, `auto` follows the driver.", "auto"
    )
    dockerfile: str | None = _key(
        None, "Build the base from this Dockerfile; `apt`, `requirements`, `run` and `env` come on top.", "Dockerfile"
    )
    context: str | None = _key(None, "Directory that COPY and ADD take files from; null is the Dockerfile's own.", ".")
    target: str | None = _key(None, "Stage of the Dockerfile to stop at.", "runtime")
    args: dict[str, str] = _key({}, "Build arguments of the Dockerfile.", {"VERSION": "1.2"})
    apt: list[str] = _key([], "Debian packages.", ["git", "ffmpeg"])
    requirements: str | list[str] = _key(
        [],
        "Python requirements: a list (PEP 508, `-r FILE` allowed), or the path of a requirements.txt, pyproject.toml, uv.lock, "
        "poetry.lock, pdm.lock, Pipfile.lock, pylock.toml or environment.yml; behind it `--extra NAME` and `--group NAME`.",
        ["torch>=2.6", "numpy"],
    )
    groups: dict[Plain, Group] = _key({}, "Named additions that join instead of replacing.", {"video": {"apt": ["ffmpeg"]}})
    run: list[str] = _key(
        [], "Shell commands to run while the image is built, after packages and wheels.", ["mkdir -p /opt/models"]
    )
    gpu: BuildGpu | None = _key(
        None,
        "A GPU for the commands of `run`, of groups and of `code.setup`, leased while each runs: `auto` is one of this machine, "
        "`9.0` (or `gfx942`) one of that architecture. A layer is made once for each architecture.",
        "auto",
    )
    env: dict[Variable, str] = _key({}, "Environment stored in the image.", {"OPENCV_LOG_LEVEL": "ERROR"})
    index: Index = _key(Index(), "Where wheels come from.", {"find_links": ["wheels/"]})
    mirror: str | None = _key(
        None, "Address of the Debian archive; null takes it from this machine's apt sources.", "http://mirror.lab/debian"
    )


class Code(Section):
    """Your code, frozen at the moment of launch."""

    root: str = _key(".", "Directory of the code, relative to the directory that holds `conf/`.", "experiments/digits")
    include: list[str] = _key(
        ["**"],
        "Patterns of files to take. One that begins with a plain name takes also what git ignores.",
        ["**", "data/input.txt"],
    )
    exclude: list[str] = _key([], "Patterns of files to leave out.", ["notebooks/**"])
    setup: list[str] = _key(
        [],
        "Shell commands to run in the image where the code is in place, in its directory; again after each change of the code.",
        ["make -C kernels"],
    )


class Gpu(Section):
    """Requirements for each GPU."""

    model: Pattern | None = _key(None, "Regular expression that the model's name must match.", "H100|A100")
    memory: Size = _key(None, "Least memory of each GPU.", "40GiB")
    capability: Capability | None = _key(None, "Least compute capability.", "8.0")
    topology: Literal["any", "nvlink"] = _key("any", "How the GPUs must be connected.", "nvlink")
    mig: MigProfile | None = _key(None, "A MIG instance instead of a whole GPU: its profile, or `any`.", "1g.10gb|2g.20gb")
    require: Literal["check", "ignore"] = _key(
        "check", "Whether driver and GPUs must meet what the image and its torch need; `ignore` starts it anyway.", "ignore"
    )
    stop_when_idle: Duration = _key(None, "Stop the run when its GPUs have done nothing for so long; null never does.", "30m")


class Mount(Section):
    """A directory or file of this machine, in the container."""

    source: str = Field(
        description="Path on this machine, relative to the directory that holds `conf/`.", examples=["/mnt/cifar10"]
    )
    target: InContainer | None = _key(None, "Path in the container; null is `/data/NAME`.", "/datasets/cifar10")
    readonly: bool = _key(True, "Whether the program may only read it.", False)


class Outputs(Section):
    """What is kept of what the program writes."""

    keep: list[str] = _key(["**"], "Patterns of files of `/outputs` to log as artifacts.", ["*.png", "model/**"])
    max_size: Size = _key(
        None, "Most that is logged as artifacts, also by the program; outputs stay in the run's directory.", "2GiB"
    )
    workspace: list[str] = _key(
        ["**"],
        "Patterns of files that the program wrote in its working directory, to keep in `outputs/workspace`; `[]` keeps none.",
        ["results/**", "*.pt"],
    )
    workspace_max_size: Size = _key(1 << 30, "Most of those that is logged as artifacts, the smallest first.", "10GiB")


class Metrics(Section):
    """Where metrics are read from, beside MLflow's own calls."""

    file: bool = _key(True, "Read the JSON lines that the program appends to `$LAUNCH_METRICS`.", False)
    tensorboard: bool = _key(False, "Read TensorBoard event files below `/outputs` and the working directory.", True)
    patterns: dict[MetricName, MetricPattern] = _key(
        {},
        "Regular expressions for lines of output. One group is the value; a group named `step` may be the step.",
        {"loss": r"loss=([\d.]+)"},
    )


class Tracking(Section):
    """Where runs are recorded. `tracking: null` keeps the journal only."""

    uri: ServerUri | None = _key(None, "MLflow server; null is a local one, started on demand.", "http://mlflow.lab:5000")
    experiment: str | None = _key(None, "MLflow experiment; null is the experiment's name.", "vision/digits")
    run_name: str | None = _key(None, "Name of the MLflow run.", "baseline")
    scope: Literal["run", "server"] = _key(
        "run", "What the program may reach through MLflow: its own run, or the server's registry too.", "server"
    )
    artifacts: bool = _key(True, "Whether outputs and logs are stored as artifacts.", False)
    system_metrics: Duration = _key(10.0, "Seconds between samples of CPU, memory and GPU; null takes none.", "30s")


class Dev(Section):
    """A container to work in (`launch dev`)."""

    idle: Duration = _key(
        7200.0, "Time after which it ends when nobody types, reads or computes in it; null never ends it.", "30m"
    )
    gpu_idle: Duration = _key(
        None,
        "Time without use after which its GPUs are given back, where no program has one open; they are asked for again at the "
        "next use. Null keeps them.",
        "15m",
    )


class Cluster(Section):
    """Where runs are placed."""

    kind: Literal["local", "slurm"] = _key("local", "This machine, or a cluster's scheduler.", "slurm")
    priority: int = _key(0, "Order in this machine's queue; higher goes first.", 10)
    partition: str | None = _key(None, "Slurm partition.", "gpu")
    account: str | None = _key(None, "Slurm account.", "vision")
    qos: str | None = _key(None, "Slurm quality of service.", "high")
    time: Duration = _key(None, "Time that the job asks for.", "12h")
    interface: str | None = _key(
        None, "Network interface by which the nodes of a run reach each other; null is that of the route between them.", "ib0"
    )
    mpi: Literal["none", "pmix", "pmi2"] = _key(
        "none",
        "How ranks that speak MPI find each other: `srun --mpi`. OpenMPI takes `pmix`, MPICH and Intel MPI `pmi2`.",
        "pmix",
    )
    requeue: bool = _key(
        False, "Whether a preempted job, or one that lost its node, is queued again and its run goes on by itself.", True
    )
    setup: list[str] = _key(
        [],
        "Lines of bash to run on the job's first node before the run begins there; one that fails ends the job.",
        ["module load proxy", "cp -ru /archive/cifar-10 /local/data"],
    )
    sbatch: dict[str, Any] = _key({}, "More options of sbatch, without the dashes.", {"exclusive": True})
    jobs: AtLeastOne | None = _key(
        None, "Of a sweep: worker jobs side by side, those in line included; null is `sweep.parallel`, or else 16.", 64
    )
    scratch: OnNode | None = _key(
        None,
        "Directory on a node's own disk for the writable layer, with `$VARIABLES` of the node; null is the run's own directory, "
        "or where that lies on NFS and the like $SLURM_TMPDIR, $TMPDIR or /tmp.",
        "/local/$USER",
    )
    node_store: OnNode | None = _key(
        None,
        "Directory on a node's own disk that keeps copies of the image's layers; null reads them where they are.",
        "/local/$USER",
    )
    node_store_size: Size = _key(None, "What `node_store` may hold; null is what the disk has room for.", "200GiB")
    build: Literal["here", "job"] = _key("here", "Whether the image is built where you type, or in a job of its own.", "job")
    build_partition: str | None = _key(None, "Slurm partition of that job; null is `partition`.", "cpu")


class Pruner(Section):
    """When a trial is stopped early."""

    kind: Literal["asha", "median", "percentile", "hyperband", "patient", "threshold", "wilcoxon"] = _key(
        "asha", "Rule.", "median"
    )
    min_reports: AtLeastOne = _key(1, "Reports of the metric before a trial may be stopped.", 3)
    reduction: Annotated[int, Field(ge=2)] = _key(3, "One of this many trials goes on at each rung.", 4)
    options: dict[str, Any] = _key({}, "More options of the rule.", {"percentile": 25.0})


Direction = Literal["minimize", "maximize"]
Constraint = Annotated[
    str, matching(r"\S+\s*(<=|>=)\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", "no constraint: write `latency_ms <= 20`")
]


class Sweep(Section):
    """How `launch -m` searches."""

    sampler: str = _key(
        "grid",
        "`grid`, `random`, `tpe`, `cmaes`, `gp`, `qmc`, `nsga2`, or an Optuna sampler of your own, as `package.module:Class`.",
        "tpe",
    )
    sampler_options: dict[str, Any] = _key({}, "Arguments of the sampler.", {"n_startup_trials": 20})
    trials: AtLeastOne | None = _key(None, "Number of trials; null is every point of a grid.", 50)
    metric: str | list[str] | None = _key(None, "Metric to optimise; a list has several objectives.", "val_accuracy")
    direction: Direction | list[Direction] = _key(
        "minimize", "Whether less or more is better; a list has one a metric.", "maximize"
    )
    value: Literal["last", "best"] = _key("last", "Which value of the metric counts.", "best")
    constraints: list[Constraint] = _key(
        [], "What a trial must fulfil to count as a good one: a metric, `<=` or `>=`, a number.", ["latency_ms <= 20"]
    )
    space: dict[str, Any] = _key(
        {},
        "What to search, as a tree like the experiment's own, in Hydra's sweep grammar.",
        {"params": {"lr": "choice(0.1, 0.01)"}},
    )
    seeds: AtLeastOne = _key(1, "Runs of each point, each with its own `seed`; their mean counts.", 3)
    parallel: AtLeastOne | None = _key(None, "Most trials at the same time; null is what the machine has room for.", 4)
    seed: int = _key(0, "Seed of the sampler.", 1)
    pruner: Pruner | None = _key(None, "When a trial is stopped early; null never.", {"kind": "asha"})
    enqueue: list[dict[str, Any]] = _key([], "Points to try first.", [{"params": {"lr": 0.001}}])
    timeout: Duration = _key(None, "Time after which no trial is started.", "10h")
    on_failure: Literal["continue", "stop"] = _key("continue", "What a failed trial means for the others.", "stop")
    max_failures: AtLeastOne | None = _key(None, "Failed trials after which the sweep stops.", 5)
    retries: Annotated[int, Field(ge=0)] = _key(0, "Times that a failed trial is tried again.", 1)
    on_oom: dict[str, Any] = _key(
        {},
        "What a trial that ran out of memory is tried again with: a tree like the experiment's own, with `/ 2` or `* 0.5`.",
        {"params": {"batch_size": "/ 2"}},
    )

    @model_validator(mode="after")
    def _one_direction_a_metric(self) -> Sweep:
        metrics = self.metric if isinstance(self.metric, list) else [self.metric]
        if isinstance(self.direction, list) and len(self.direction) != len(metrics):
            raise ValueError(f"{len(self.direction)} directions for {len(metrics)} metrics")
        return self


class ExperimentSpec(Section):
    """One experiment."""

    name: str = Field(
        min_length=1, description="Name of the experiment; the configuration file's name unless set.", examples=["digits"]
    )
    description: str | None = _key(None, "One line that `launch list` shows.", "MLP on handwritten digits")
    tags: dict[str, str] = _key({}, "Labels stored with the run.", {"team": "vision"})
    image: Image = _key(Image(), "What the program runs on.", {"apt": ["git"]})
    code: Code = _key(Code(), "Your code.", {"root": "experiments/digits"})
    command: str | list[Any] = _key(
        [],
        "The program and its words. A string is split as a shell would, then `${...}` is filled in; no shell runs. Required, "
        "except with `image.dockerfile`: then ENTRYPOINT and CMD of the image are run. A notebook (`train.ipynb`) is one, too.",
        "python3 train.py --lr=${params.lr}",
    )
    workdir: InContainer = _key(
        "/workspace", "Working directory, where the code lies. With `image.dockerfile` the image's own, unless set.", "/workspace"
    )
    processes: AtLeastOne | Literal["per-gpu"] = _key(
        1, "Ranks that launch itself starts; leave it at 1 with torchrun.", "per-gpu"
    )
    params: dict[str, Any] = _key({}, "The experiment's own parameters.", {"lr": 0.001, "layers": [64, 32]})
    seed: int = _key(0, "Seed, as `LAUNCH_SEED` and `PYTHONHASHSEED`.", 3)
    deterministic: bool = _key(
        False, "Ask libraries for deterministic results, the same on all CPUs with AVX2, at some cost in speed.", True
    )
    env: dict[Variable, str] = _key({}, "Environment of the program.", {"OMP_NUM_THREADS": "4"})
    gpus: Annotated[int | float | Literal["all"], BeforeValidator(whole_above_one)] = _key(
        0, "GPUs per node; a part of one (`0.25`), or `all`.", 2
    )
    gpu: Gpu = _key(Gpu(), "Requirements for each GPU.", {"memory": "40GiB"})
    devices: list[str] = _key(
        [],
        "Further devices: a node (`/dev/kvm`), a CDI device (`vendor.com/class=name`), or one of `infiniband`, `gds`, `gdrcopy`, "
        "`imex:N`.",
        ["/dev/kvm", "amd.com/gpu=0"],
    )
    nodes: AtLeastOne = _key(1, "Machines.", 2)
    cpus: Annotated[int | float, Field(gt=0)] | None = _key(None, "CPU limit, in cores; null is what the machine has.", 4)
    memory: Size = _key(None, "Memory limit; null: no limit.", "16GiB")
    shm: Size = _key(None, "Size of /dev/shm; null is half of the memory.", "8GiB")
    network: Annotated[Literal["none", "host", "bridge", "pasta"] | str, AfterValidator(network_word)] = _key(
        "none",
        "Network of the program: `none`, `host` (this machine's), `bridge` (its own, as root), `pasta` (its own, without root), "
        "or a name: runs with the same name share a network and find one another by name (as root).",
        "bridge",
    )
    publish: list[Annotated[str, AfterValidator(published_port)]] = _key(
        [],
        "Ports of the program that this machine offers, as Docker writes them: `8080:80`, `127.0.0.1:8080:80`, `53/udp`, or `80` "
        "for any free port of this machine. They don't change the result.",
        ["127.0.0.1:6006:6006"],
    )
    data: dict[Plain, str | Mount | None] = _key(
        {}, "Directories mounted below /data; null is not mounted.", {"cifar10": "/mnt/cifar10"}
    )
    caches: dict[Plain, InContainer] = _key(
        {}, "Directories kept between runs, shared and writable.", {"huggingface": "/cache/hf"}
    )
    secrets: list[Variable] = _key([], "Variables of your environment given to the program and never recorded.", ["HF_TOKEN"])
    outputs: Outputs = _key(Outputs(), "What is kept of what the program writes.", {"keep": ["*.png"]})
    metrics: Metrics = _key(Metrics(), "Where metrics are read from.", {"tensorboard": True})
    timeout: Duration = _key(None, "Time after which the program is stopped.", "12h")
    grace: Annotated[float, BeforeValidator(seconds)] = _key(30.0, "Time between SIGTERM and SIGKILL.", "2m")
    retries: Annotated[int, Field(ge=0)] = _key(
        0,
        "Times that a run is tried again when the machine failed it: a lost GPU, a machine out of memory, a failure of ours.",
        2,
    )
    retry_on: list[Literal["program", "oom", "timeout"]] = _key(
        [], "Endings that are tried again, too: the program failed, met `memory`, met `timeout`.", ["program"]
    )
    tracking: Tracking | None = _key(Tracking(), "Where the run is recorded.", {"uri": "http://mlflow.lab:5000"})
    notify: Annotated[str | list[str] | None, AfterValidator(receiver)] = _key(
        None,
        "Who is told when the run or the sweep has ended: an http(s) address, which gets a POST of JSON, or the words of a "
        "command of this machine's. A record leaves it out.",
        ["notify-send", "training has ended"],
    )
    cluster: Cluster = _key(Cluster(), "Where the run is placed.", {"kind": "slurm"})
    dev: Dev = _key(Dev(), "The container that `launch dev` makes.", {"idle": "30m"})
    sweep: Sweep | None = _key(None, "How `launch -m` searches.", {"metric": "val_accuracy"})

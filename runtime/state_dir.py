"""Where state lives: `LAUNCH_HOME`, and the one layout below it.

    store/        blobs, layers, images (see `runtime.store`)
    runs/<id>/    one directory a run (see `RunDir`)
    dev/<id>/     the same for each container of `launch dev`, whose ids begin with `dev-`: they are no runs
    active/       one empty file for each run that has not ended (see `RunList`)
    unsent/       one empty file for each run that has ended and is not wholly in MLflow yet
    mlflow/       the local MLflow server's database, artifacts, socket and log
    cache/        things that may be deleted at any time (compiled configurations, Debian indexes, resolutions)
    locks/        flock files

Default: `/var/lib/launch` for root, `$XDG_DATA_HOME/launch` (`~/.local/share/launch`) otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import StoreError, error_words
from runtime.light_dataclasses import dataclass

DEV = "dev-"
"""What the id of a container to work in begins with."""


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory tree below `LAUNCH_HOME`."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def dev(self) -> Path:
        return self.root / "dev"

    def run(self, run_id: str) -> RunDir:
        return RunDir((self.dev if run_id.startswith(DEV) else self.runs) / run_id)

    @property
    def active(self) -> RunList:
        """Runs that have not ended: nobody reads a thousand journals to know. The list may be too long, never too short: a
        run is on it before it shows anywhere, and until after its last word."""
        return RunList(self, "active")

    @property
    def unsent(self) -> RunList:
        """Runs that have ended and are not wholly in MLflow yet. Who sees the end puts a run there; who has told MLflow
        everything, or has found that MLflow will never take it, takes it away."""
        return RunList(self, "unsent")

    @property
    def beginnings_lock(self) -> Path:
        """Held, shared, by whoever begins a run; alone by who removes half a run."""
        return self.locks / "beginnings.lock"

    @property
    def sender_lock(self) -> Path:
        """Held for its life by the sender of this user that sees the network as we do: another machine may reach a server that
        this one doesn't, and must not wait until the sender here has lost hope."""
        network = os.stat("/proc/self/ns/net").st_ino
        return self.locks / f"sender-{os.geteuid()}-{os.uname().nodename}-{network}.lock"

    def ensure(self) -> StateDir:
        """Make the directories, private to this user. Idempotent. Raises StoreError."""
        for directory in (self.root, self.store, self.runs, self.mlflow, self.cache, self.locks):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the state directory `{self.root}` cannot be made: `{error.filename}`: {error_words(error)}",
                    hint="LAUNCH_HOME names it: set it to a directory that you may write to",
                ) from error
        return self


class RunList:
    """Some of the runs of a state directory: one empty file a run in a directory of its own."""

    __slots__ = ("_directory", "_state")

    def __init__(self, state: StateDir, name: str) -> None:
        self._state = state
        self._directory = state.root / name

    def add(self, run_dir: RunDir) -> None:
        """Idempotent."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        (self._directory / run_dir.run_id).touch(mode=0o600)

    def remove(self, run_dir: RunDir) -> None:
        """Idempotent."""
        (self._directory / run_dir.run_id).unlink(missing_ok=True)

    def __contains__(self, run_dir: RunDir) -> bool:
        return (self._directory / run_dir.run_id).exists()

    def own_runs(self) -> list[RunDir]:
        """Those of this user, and those whose directory is gone: whom root looks at, or who had root launch something in his
        state directory, has runs that are the other's to supervise and to send."""
        return [run_dir for run_dir in self.runs() if run_dir.is_own]

    def runs(self) -> list[RunDir]:
        """By id. Cheap: one directory listing."""
        try:
            return [self._state.run(name) for name in sorted(os.listdir(self._directory))]
        except (FileNotFoundError, NotADirectoryError):
            return []


@dataclass(frozen=True, slots=True)
class RunDir:
    """Every path of one run. Who writes it stands beside it.

    A run on several nodes has one directory; each node but the first writes below `nodes/K` what it has of its own, under the
    same names: journal, output, metrics, the container's files. Plan, outputs and checkpoints are the run's.
    """

    root: Path
    node: int = 0
    """Which of its nodes is meant; the first is the run's own."""

    @property
    def run_id(self) -> str:
        return self.root.name

    @property
    def is_dev(self) -> bool:
        """Whether it is no run, but a container to work in: nothing of it is recorded."""
        return self.run_id.startswith(DEV)

    @property
    def is_own(self) -> bool:
        """Whether this user made it, or nobody."""
        try:
            return self.root.stat().st_uid == os.geteuid()
        except OSError:
            return True

    @property
    def state(self) -> StateDir:
        """The state directory that it lies in."""
        return StateDir(self.root.parent.parent)

    @property
    def container_id(self) -> str:
        """What container, cgroup and leases of the run on this node are called: two nodes may be one machine."""
        return f"{self.run_id}-{self.node}" if self.node else self.run_id

    @property
    def cgroup_name(self) -> str:
        return f"launch-{self.container_id}"

    @property
    def place(self) -> Path:
        """Where this node writes."""
        return self.root / "nodes" / str(self.node) if self.node else self.root

    def on_node(self, node: int) -> RunDir:
        return RunDir(self.root, node)

    @property
    def plan(self) -> Path:
        """`LaunchPlan` as JSON; the command, before anything else."""
        return self.root / "plan.json"

    @property
    def sbom(self) -> Path:
        """The software in the run's image (CycloneDX), as it is kept beside the image; the supervisor, or a process that
        it forks for it."""
        return self.root / "sbom.json"

    @property
    def journal(self) -> Path:
        """One JSON event a line, the truth about the run; the command, then the supervisor, and whoever else has something
        to say of it (`launcher.journal.journal`)."""
        return self.place / "journal.jsonl"

    @property
    def spec(self) -> Path:
        """The resolved spec, mounted at /run/launch/spec.json."""
        return self.root / "spec.json"

    @property
    def params(self) -> Path:
        """The resolved params, mounted at /run/launch/params.json."""
        return self.root / "params.json"

    @property
    def stdout(self) -> Path:
        return self.place / "stdout.log"

    @property
    def stderr(self) -> Path:
        return self.place / "stderr.log"

    @property
    def output_index(self) -> Path:
        """When and in which order both came (see `runtime.container.logs`); whoever writes them."""
        return self.place / "output.index"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, appended by the program through /run/launch/metrics.jsonl."""
        return self.place / "metrics.jsonl"

    @property
    def logged(self) -> Path:
        """What the run reported, from `metrics` and through the MLflow gateway, in order and with times (see
        `launcher.tracking.metrics.metric_log`), one JSON object a line; the tracker."""
        return self.place / "logged.jsonl"

    @property
    def system_metrics(self) -> Path:
        """Samples of the run's use of the machine, one JSON object a line: `{"time": s, "cpu_utilization_percentage": 93.1}`
        with MLflow's names for system metrics; the tracker, and the supervisor for GPUs."""
        return self.place / "system.jsonl"

    @property
    def gpu_energy(self) -> Path:
        """How far the energy of each GPU was measured (see `runtime.gpu.energy`); the supervisor, atomically."""
        return self.place / "gpu_energy.json"

    @property
    def last_metrics(self) -> Path:
        """`{name: last value}`; the tracker, atomically."""
        return self.place / "last_metrics.json"

    @property
    def mlflow(self) -> Path:
        """`{tracking_uri, ui_uri, experiment_id, run_id, artifact_uri}`; the tracker, once the MLflow run exists."""
        return self.root / "mlflow.json"

    @property
    def sweep(self) -> Path:
        """Of the parent of a sweep: what it searches and how it was asked for (see `launcher.sweep.description`); the command."""
        return self.root / "sweep.json"

    @property
    def trials(self) -> Path:
        """Of the parent of a sweep: its trials (see `launcher.sweep.trial_log`), one JSON event a line; the command."""
        return self.root / "trials.jsonl"

    @property
    def hydra_tasks(self) -> Path:
        """Of a Hydra program: a directory a job whose task is a pickle (see `launcher.cli.hydra_program`); the command."""
        return self.root / "hydra_tasks"

    @property
    def workers(self) -> Path:
        """Of the parent of a sweep on a cluster: one directory a worker job (see `launcher.cluster.trials.exchange`)."""
        return self.root / "workers"

    @property
    def requests(self) -> Path:
        """Of a trial that a worker job runs: the signals that its supervisor shall have, one a line; whoever asks."""
        return self.root / "requests"

    @property
    def waits_for_room(self) -> Path:
        """Of the parent of a sweep: what its next trial needs, locked while it waits for that (see
        `launcher.sweep.other_sweeps`)."""
        return self.root / "waits_for_room"

    @property
    def tracking(self) -> Path:
        """What MLflow shall be told about the run (`launcher.tracking.mlflow.description`); the command or the tracker, once."""
        return self.root / "tracking.json"

    @property
    def artifacts(self) -> Path:
        """Artifacts that the program logged through the gateway, until MLflow has them; the tracker."""
        return self.place / "artifacts"

    @property
    def tracker_state(self) -> Path:
        """How far the journal, metrics and artifacts are known to MLflow; the tracker, atomically."""
        return self.place / "tracker.json"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def exit_record(self) -> Path:
        """How the program ended; the container's init, with fsync, before it ends."""
        return self.place / "exit.json"

    @property
    def overlay(self) -> Path:
        """`u` and `w` of the container's overlay; removed at the end."""
        return self.place / "overlay"

    @property
    def init_socket(self) -> Path:
        """Where the container's init hands out its descriptors to whoever adopts the run."""
        return self.place / "init.sock"

    @property
    def supervisor_lock(self) -> Path:
        """flock'ed by the supervisor for its life; content: `{"pid": …, "started": …, "host": …}`."""
        return self.place / "supervisor.lock"

    @property
    def resume_lock(self) -> Path:
        """flock'ed by the command that begins the run's next life, until its journal says so."""
        return self.root / "resume.lock"

    @property
    def notify(self) -> Path:
        """Who is told of the run's end, where somebody is (`launcher.run.notice`); the command."""
        return self.root / "notify.json"

    @property
    def supervisor_log(self) -> Path:
        """stderr of supervisor and tracker: a bug's traceback ends up here."""
        return self.place / "supervisor.log"


def state_dir(environ: dict[str, str] | os._Environ[str] = os.environ) -> StateDir:
    """`LAUNCH_HOME`, or the default for this user. Nothing is created."""
    named = environ.get("LAUNCH_HOME")
    if named:
        return StateDir(Path(named).absolute())
    if os.geteuid() == 0:
        return StateDir(Path("/var/lib/launch"))
    data_home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local", "share")
    return StateDir(Path(data_home) / "launch")

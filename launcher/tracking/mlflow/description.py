"""What MLflow is told about a run: experiment, name, params, tags. Pure functions of `plan.json` and the journal.

Names are MLflow's where its UI knows them (mlflow/utils/mlflow_tags.py), everything else stands under `launch.`. Params have
plain names (`lr`, nested `opt.lr`). A run without a plan (the parent of a sweep) has its description in `tracking.json`.
Sending is `sink.py`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from launcher.journal.events import Created, Finished
from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from runtime.file_lock import is_locked
from runtime.json_files import flat, json_object
from runtime.light_dataclasses import asdict, dataclass, field
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file


@dataclass(frozen=True, slots=True)
class Description:
    """What stands from the beginning."""

    experiment: str
    run_name: str
    user: str
    start_ms: int
    uri: str | None = None
    """`tracking.uri`; None is the local server."""
    scope: str = "run"
    artifacts: bool = True
    keep: tuple[str, ...] = ("**",)
    max_size: int | None = None
    workspace_max_size: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    """As MLflow's API takes them (mlflow/protos/service.proto, "DatasetInput")."""
    may_use_mlflow: bool = True
    """Whether the program could have MLflow's client: then its start waits for the run's id."""
    system_interval_s: float | None = None
    """Seconds between samples of the run's use of the machine; None takes none."""
    nodes: int = 1
    cpus: float | None = None
    memory_bytes: int | None = None


def describe(run_dir: RunDir) -> Description | None:
    """The description of the run; None when it is not tracked (`tracking: null`) or nothing is known of it."""
    try:
        stored = json.loads(run_dir.tracking.read_bytes())
        return Description(**{**stored, "keep": tuple(stored["keep"])})
    except FileNotFoundError:
        pass
    try:
        document = json.loads(run_dir.plan.read_bytes())
    except FileNotFoundError:
        return None
    run = read_state(run_dir.on_node(0).journal)  # a further node's begins with its placement
    if run.created is None or document["plan"]["spec"].get("tracking") is None:
        return None
    return _of_plan(run_dir, document, run)


def write_description(run_dir: RunDir, description: Description) -> None:
    """For a run without a plan. Replaces what was there."""
    replace_file(run_dir.tracking, json.dumps(asdict(description)))


def flattened(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested params as MLflow's flat ones: `{"opt": {"lr": 0.1}}` → `opt.lr`. A list stays one value, as JSON."""
    return {name: _as_text(value) for name, value in flat(params)}


def current_tags(run: RunState) -> dict[str, str]:
    """Tags that follow from what has happened to the run so far."""
    tags: dict[str, Any] = {f"launch.{name}": value for name, value in run.facts.items()}
    tags |= {"launch.image_digest": run.image_digest, "mlflow.docker.image.id": run.image_digest}
    if run.first_started_at is not None or run.placed is not None:
        tags["launch.attempt"] = run.attempt
    if run.gpus:
        tags["launch.gpus"] = ",".join(run.gpus)
    if run.nodes:
        nodes = (run.nodes[number] for number in sorted(run.nodes))
        tags["launch.nodes"] = ",".join(str(node.get("name") or node.get("host")) for node in nodes)
    if run.ended_before is not None:
        tags |= dict.fromkeys(_ending(run.ended_before), "")  # not true any more, and a tag can only be replaced
    if run.finished is not None:
        tags |= _ending(run.finished)
    return {name: _as_text(value) for name, value in tags.items() if value is not None}


def parent_tag(run_dir: RunDir, run: RunState, *, uri: str | None) -> dict[str, str]:
    """The MLflow run of the sweep, or of the run that this one repeats, once it exists; on another server than that at *uri* it
    would be nobody."""
    parent = run.created and (run.created.parent_run_id or run.created.rerun_of)
    if not parent:
        return {}
    known = json_object(run_dir.state.run(parent).mlflow)
    if not known or known.get("tracking_uri") != uri:
        return {}
    return {"mlflow.parentRunId": str(known["run_id"])}


def parent_is_coming(run_dir: RunDir, run: RunState) -> bool:
    """Whether the run is a trial of a sweep that is not in MLflow yet, and will be: created before it, it would stand alone for
    ever."""
    parent = run.created and run.created.parent_run_id
    if not parent:
        return False
    sweep = run_dir.state.run(parent)
    is_known = not sweep.tracking.exists() or sweep.mlflow.exists()
    return not is_known and (is_locked(sweep.supervisor_lock) or sweep in sweep.state.unsent)


def _of_plan(run_dir: RunDir, document: dict[str, Any], run: RunState) -> Description:
    assert run.created is not None
    user = user_name(run.created.user or "")
    plan, identity = document["plan"], document.get("identity") or {}
    spec = plan["spec"]
    tracking = spec["tracking"]
    outputs = spec.get("outputs") or {}
    name = (
        tracking.get("run_name")
        or identity.get("name")
        or _trial_name(spec["name"], identity)
        or f"{spec['name']} {run_dir.run_id}"
    )
    return Description(
        experiment=tracking.get("experiment") or spec["name"],
        run_name=name,
        user=user,
        start_ms=int(run.created_at * 1000),
        uri=tracking.get("uri"),
        scope=tracking.get("scope", "run"),
        artifacts=bool(tracking.get("artifacts", True)),
        keep=tuple(outputs.get("keep") or ()),
        max_size=outputs.get("max_size"),
        workspace_max_size=outputs.get("workspace_max_size"),
        params=flattened(spec.get("params") or {}),
        tags=_tags(run_dir, document, run.created, user=user),
        datasets=[_dataset(name, pin) for name, pin in (plan.get("data") or {}).items()],
        may_use_mlflow=may_use_mlflow(plan),
        system_interval_s=tracking.get("system_metrics"),
        nodes=spec.get("nodes", 1),
        cpus=plan.get("cpus"),
        memory_bytes=plan.get("memory_bytes"),
    )


def user_name(user: str) -> str:
    """Who launched; a number stands where no USER was set, and the machine may know a name for it."""
    if user.isdigit():
        import pwd

        try:
            return pwd.getpwuid(int(user)).pw_name
        except KeyError:
            return user
    return user


def _trial_name(experiment: str, identity: Mapping[str, Any]) -> str | None:
    trial = identity.get("trial")
    return None if trial is None else f"{experiment} trial {trial}"


def _tags(run_dir: RunDir, document: dict[str, Any], created: Created, *, user: str) -> dict[str, str]:
    host = created.host
    plan, identity = document["plan"], document.get("identity") or {}
    spec, lock = plan["spec"], plan.get("lock")
    tags: dict[str, Any] = {
        **{str(name): value for name, value in (spec.get("tags") or {}).items()},
        "mlflow.user": user,
        "mlflow.source.name": shlex.join(map(str, identity.get("command") or ["launch", f"experiment={spec['name']}"])),
        "mlflow.source.type": "LOCAL",
        "mlflow.project.entryPoint": spec["name"],
        "mlflow.docker.image.uri": document.get("image_digest"),
        "mlflow.docker.image.id": document.get("image_digest"),
        "mlflow.note.content": _note(run_dir, document, host),
        **_git_tags(plan["code"].get("git")),
        "launch.run_id": run_dir.run_id,
        "launch.experiment": spec["name"],
        "launch.command": shlex.join(plan["argv"]),
        "launch.plan_digest": created.plan_digest,
        "launch.spec_digest": plan["spec_digest"],
        "launch.code_digest": plan["code"]["digest"],
        "launch.lock_digest": lock["digest"] if lock else None,
        "launch.base_digest": plan["base_digest"],
        "launch.image_digest": document.get("image_digest"),
        "launch.seed": spec.get("seed"),
        "launch.deterministic": spec.get("deterministic"),
        "launch.threads": plan.get("threads"),
        "launch.cpus": plan.get("cpus"),
        "launch.memory_bytes": plan.get("memory_bytes"),
        "launch.gpu_count": plan.get("gpus"),
        "launch.host": host,
        "launch.overrides": shlex.join(plan["overrides"]) if plan.get("overrides") else None,
        "launch.parent_run_id": identity.get("parent_run_id"),
        "launch.sweep_id": identity.get("sweep_id"),
        "launch.trial": identity.get("trial"),
        "launch.rerun_of": identity.get("rerun_of"),
        **{f"launch.data.{name}": pin.get("digest") for name, pin in (plan.get("data") or {}).items()},
    }
    return {name: _as_text(value) for name, value in tags.items() if value is not None}


def _dataset(name: str, pin: Mapping[str, Any]) -> dict[str, Any]:
    """MLflow refuses a digest of more than 36 characters: it gets 32 of its hex digits, and all of it in a tag."""
    digest = str(pin["digest"])
    size = {"files": pin["files"], "size_bytes": pin["size_bytes"], "digest_of": pin["kind"]}
    return {
        "dataset": {
            "name": name,
            "digest": digest.removeprefix("sha256:")[:32],
            "source_type": "local",
            "source": json.dumps({"uri": str(pin["source"])}),
            "profile": json.dumps(size),
        },
        "tags": [{"key": "mlflow.data.context", "value": "input"}, {"key": "launch.digest", "value": digest}],
    }


def _git_tags(git: Mapping[str, Any] | None) -> dict[str, Any]:
    if not git:
        return {}
    return {
        "mlflow.source.git.commit": git["commit"],
        "mlflow.source.git.branch": git.get("branch"),
        "mlflow.source.git.repoURL": git.get("remote_url"),
        "mlflow.source.git.dirty": git["dirty"],
        "mlflow.source.git.diff": git.get("diff"),
        "launch.dirty": git["dirty"],
    }


def _note(run_dir: RunDir, document: dict[str, Any], host: str | None) -> str:
    identity = document.get("identity") or {}
    lines = [str(identity["note"]), ""] if identity.get("note") else []
    lines += [
        f"`launch rerun {run_dir.run_id}` runs it again on `{host}`.",
        "",
        f"- image `{document.get('image_digest')}`",
        f"- files `{run_dir.root}`",
    ]
    if document["plan"]["spec"].get("description"):
        lines.insert(0, f"{document['plan']['spec']['description']}\n")
    return "\n".join(lines)


def _ending(finished: Finished) -> dict[str, Any]:
    """What an end adds to the tags, as far as it is known."""
    # Memory at the very end says nothing, and `launch.memory_bytes` is the limit.
    told = {name: value for name, value in (finished.usage or {}).items() if name != "memory_bytes"}
    told |= {"reason": finished.reason, "exit_code": finished.exit_code, "signal": finished.signal, "message": finished.message}
    return {f"launch.{name}": value for name, value in told.items() if value is not None}


def may_use_mlflow(plan: Mapping[str, Any]) -> bool:
    """False only when every Python package of the image is known from the lock and none of them is MLflow."""
    steps = plan["build"]["steps"]
    if any(step["step"] == "import-image" or (step["step"] == "run-command" and "mlflow" in str(step["argv"])) for step in steps):
        return True
    return any(str(step["name"]).startswith("mlflow") for step in steps if step["step"] == "install-wheel")


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

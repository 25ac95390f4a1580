"""Files of the record that are views of the plan (spec.yaml, requirements.lock, code.tar) and of what came out (outputs.json).
Made at the end of a run, by its tracker or whoever tells MLflow in its place; a run that MLflow hears nothing of has those of the
plan, too. Outputs are listed only where they are sent: who has them can hash them, and of a hundred gigabytes that takes minutes.

With them a run can be understood, and run again, when its image is gone, or from its MLflow artifacts alone. What the plan
itself says is `plan.json`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.tracking.record.regular_files import regular_files
from launcher.tracking.record.sparse_files import digest_output
from runtime.build.cache_key import step_key
from runtime.build.plan import CopyIn
from runtime.errors import RuntimeFailure
from runtime.layer.archive import tar_chunks
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store
from runtime.whole_file import link_or_copy, replace_file

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one for each value
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def write(run_dir: RunDir) -> None:
    """Make those views of the plan that are missing. The code is left out when its layer has left the store. Raises LaunchError
    when there is no room."""
    if run_dir.is_dev:
        return
    try:
        document = json.loads(run_dir.plan.read_bytes())
    except FileNotFoundError:
        return  # the parent of a sweep has no plan
    plan, state = document["plan"], run_dir.state
    sweep_id = document.get("identity", {}).get("sweep_id")
    sweep = None if sweep_id is None else state.run(sweep_id).root
    with _with_errors_named(run_dir), suppress(RuntimeFailure):
        _write_once(run_dir.root / "spec.yaml", lambda: [yaml_text(plan["spec"]).encode()])
        if lock := plan.get("lock"):
            _write_shared(run_dir.root / "requirements.lock", sweep, lock["digest"], lambda: [lock_text(lock)])
        _write_shared(run_dir.root / "code.tar", sweep, plan["code"]["digest"], lambda: _code_tar(state, plan))


def list_outputs(run_dir: RunDir) -> None:
    """Path → digest of each output, for whoever has the record and not the files; a resumed run has more. Raises LaunchError when
    there is no room."""
    listed = run_dir.root / "outputs.json"
    with _with_errors_named(run_dir):
        if _is_current(listed, run_dir.outputs):
            return
        content = json.dumps(output_digests(run_dir.outputs), indent=1, sort_keys=True)
        if listed.exists() and listed.read_text() == content:
            return  # a new file would be sent again
        replace_file(listed, content)


@contextmanager
def _with_errors_named(run_dir: RunDir) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LaunchError(f"cannot complete the record in `{run_dir.root}`: {error.strerror}") from error


def _is_current(listed: Path, outputs: Path) -> bool:
    """Whether it names what is there, all of which is older: hashing takes seconds for some gigabytes."""
    try:
        known, at_ns = json.loads(listed.read_bytes()), listed.stat().st_mtime_ns
    except (FileNotFoundError, ValueError):
        return False
    # Not when a file was modified, which its program may have set.
    changed_ns = {name: path.stat(follow_symlinks=False).st_ctime_ns for name, path in regular_files(outputs)}
    return bool(known.keys() == changed_ns.keys() and all(changed < at_ns for changed in changed_ns.values()))


def output_digests(directory: Path) -> dict[str, str]:
    """Path → digest of every file below *directory*; links are left out."""
    found: dict[str, str] = {}
    for name, path in regular_files(directory):
        try:
            found[name] = digest_output(path)
        except PermissionError:
            found[name] = f"unreadable: {path}"  # equal to nothing: what nobody can read, nobody can call the same
    return found


def lock_text(lock: Mapping[str, Any]) -> bytes:
    """The lock in requirements file syntax with hashes: pip and uv install it."""
    header = f"# python {lock['python']}, {lock['platform']}\n"
    lines = []
    for wheel in lock["wheels"]:
        if (url := wheel.get("url") or "").startswith(("git+", "./", "-e ")):
            # Of trees pip and uv check no hashes.
            lines.append(f"{wheel['name']} @ {url}\n" if url.startswith("git+") else f"{url}\n")
            continue
        required = f"{wheel['name']} @ {wheel['url']}" if wheel.get("url") else f"{wheel['name']}=={wheel['version']}"
        lines.append(f"{required} \\\n    --hash=sha256:{wheel['sha256']}\n")
    return (header + "".join(lines)).encode()


def _write_shared(own: Path, sweep: Path | None, digest: str, content: Callable[[], Iterable[bytes]]) -> None:
    """The trials of *sweep* have one such file, which lies beside their parent: there may be ten thousand of them."""
    if sweep is None or own.exists() or not sweep.is_dir():
        _write_once(own, content)
        return
    shared = sweep / f"{own.stem}-{digest.partition(':')[2][:12]}{own.suffix}"
    _write_once(shared, content)
    link_or_copy(shared, own)


def _write_once(path: Path, content: Callable[[], Iterable[bytes]]) -> None:
    if path.exists():
        return
    replace_file(path, content())


def yaml_text(value: Any, *, indent: str = "") -> str:
    """JSON data as YAML that all versions of YAML read alike: strings quoted, floats with a point. PyYAML would cost 15 ms."""
    if isinstance(value, Mapping) and value:
        return "".join(f"{indent}{_yaml_key(key)}:{_yaml_item(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{indent}-{_yaml_item(item, indent)}" for item in value)
    return f"{indent}{_yaml_scalar(value)}\n"


def _yaml_item(item: Any, indent: str) -> str:
    if isinstance(item, Mapping | list) and item:
        return "\n" + yaml_text(item, indent=indent + "  ")
    return f" {_yaml_scalar(item)}\n"


def _yaml_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _YAML_WORDS else json.dumps(key)


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        mantissa, e, exponent = repr(value).partition("e")
        return mantissa if not e else f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
    return _encode(value)


def _code_tar(state: StateDir, plan: Mapping[str, Any]) -> Iterable[bytes]:
    store = Store(state.store)
    for step in plan["build"]["steps"]:
        if step["step"] != "copy-in":
            continue
        # The plan lists the snapshot's files once, with the code.
        files = tuple((path, mode, sha256) for path, mode, sha256 in step["files"] or plan["code"]["files"])
        copy = CopyIn(step["source"], files, step["target"], Digest(step["snapshot_digest"]))
        layer = store.find(step_key(copy, None))
        if layer is None:
            raise RuntimeFailure("the code's layer has left the store")
        yield from tar_chunks(store.tree_of(layer), store.layer_dir(layer))

"""Lock files that a person keeps beside an experiment: `<experiment>.lock` and pylock.toml.

The first is requirements file syntax with hashes (any pip or uv installs it) and holds names, versions, sha256 and file
names; no addresses, so that it works through any mirror. PEP 751 needs an address for each file, so pylock.toml has them.
Both carry the digest of the inputs, by which a launch knows that the lock is current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.errors import ConfigError
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.requirement_lines import RequirementRequest, read_requirements
from launcher.plan.requirements.resolve import lock_digest, older_request_digest, request_digest
from runtime.build.plan import minor_of
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest

Packages = tuple[tuple[str, str], ...]
"""(name, version)"""


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock file as read: the lock, and the digest of the inputs that it was made from."""

    lock: Lock
    python: str
    """The minor version that it was made for."""
    inputs: str
    """`resolve.request_digest` at the time."""


def lock_file_text(lock: Lock, *, inputs: Digest, command: str) -> str:
    """`<experiment>.lock`. *command* is how to make it again."""
    header = [
        f"# Locked by launch; made again by: {command}",
        f"# inputs: {inputs}",
        f"# python: {minor_of(lock.python)}",
        f"# platform: {lock.platform}",
    ]
    if lock.torch is not None:
        header.append(f"# torch: {lock.torch}")
    for word, packages in (("provided by the base", lock.provided), ("replaces the base's", lock.replaced)):
        header += [f"# {word}: {name} {version}" for name, version in packages]
    return "\n".join(header) + "\n\n" + "".join(_entry(wheel) for wheel in lock.wheels)


def _entry(wheel: LockedWheel) -> str:
    if wheel.directory is not None:
        return f"{wheel.requirement}\n    # package: {wheel.name}\n"
    if wheel.is_git:
        return f"{wheel.requirement}\n    # tree: {wheel.sha256}, version: {wheel.version}\n"
    note = f"    # file: {wheel.filename}" + (f", {wheel.size} bytes" if wheel.size is not None else "")
    if wheel.index is not None:
        note += f", index: {wheel.index}"
    return f"{wheel.requirement} \\\n    --hash=sha256:{wheel.sha256}\n{note}\n"


def pylock_text(lock: Lock, *, inputs: Digest, addresses: Mapping[str, str]) -> str:
    """pylock.toml (PEP 751). *addresses*: file name → URL."""
    lines = [
        'lock-version = "1.0"',
        'created-by = "launch"',
        f"requires-python = {_toml('==' + minor_of(lock.python) + '.*')}",
        "",
    ]
    for wheel in lock.wheels:
        if wheel.is_tree:
            lines += _pylock_tree(wheel)
            continue
        address = wheel.url or addresses.get(wheel.filename)
        if address is None:
            raise ConfigError(
                f"the address of `{wheel.filename}` isn't known, and PEP 751 needs one for every file",
                hint="add `--refresh` so that the index is asked again, or leave `--format pylock.toml` out",
            )
        size = f", size = {wheel.size}" if wheel.size is not None else ""
        file = (
            f"{{ name = {_toml(wheel.filename)}, url = {_toml(address)}{size}, hashes = {{ sha256 = {_toml(wheel.sha256)} }} }}"
        )
        kind = f"sdist = {file}" if wheel.sdist else f"wheels = [{file}]"
        lines += ["[[packages]]", f"name = {_toml(wheel.name)}", f"version = {_toml(wheel.version)}", kind, ""]
    lines += ["[tool.launch]", f"inputs = {_toml(inputs)}", f"python = {_toml(minor_of(lock.python))}"]
    lines.append(f"platform = {_toml(lock.platform)}")
    if lock.torch is not None:
        lines.append(f"torch = {_toml(lock.torch)}")
    for word, packages in (("provided", lock.provided), ("replaced", lock.replaced)):
        if packages:
            rows = ", ".join(f"{_toml(name)} = {_toml(version)}" for name, version in packages)
            lines.append(f"{word} = {{ {rows} }}")
    return "\n".join(lines) + "\n"


def _pylock_tree(wheel: LockedWheel) -> list[str]:
    """PEP 751 pins a commit, and nothing of a directory."""
    head = ["[[packages]]", f"name = {_toml(wheel.name)}"]
    if wheel.directory is not None:
        path = f"directory = {{ path = {_toml(wheel.directory)}, editable = {str(wheel.is_editable).lower()} }}"
        return [*head, path, f"tool = {{ launch = {{ directory = {_toml((wheel.url or '').removeprefix('-e '))} }} }}", ""]
    address, _, below = (wheel.url or "").removeprefix("git+").partition("#subdirectory=")
    repository, _, commit = address.rpartition("@")
    vcs = f'vcs = {{ type = "git", url = {_toml(repository)}, commit-id = {_toml(commit)}'
    vcs += f", subdirectory = {_toml(below)} }}" if below else " }"
    pinned = f"version = {_toml(wheel.version)}, tree = {_toml(wheel.sha256)}"
    return [*head, vcs, f"tool = {{ launch = {{ {pinned} }} }}", ""]


def _toml(text: str) -> str:
    """A JSON string is a TOML basic string."""
    return json.dumps(text)


def read_lock_file(path: Path, *, python: str) -> LockFile | None:
    """The lock in *path*, None when there is no such file. *python* is the base's exact version."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read lock file `{path}`: {error}") from error
    if path.suffix == ".toml":
        return _read_pylock(path, text, python)
    header = dict(re.findall(r"^# (inputs|python|platform|torch): (.+)$", text, re.MULTILINE))
    if not {"inputs", "python", "platform"} <= set(header):
        raise ConfigError(f"`{path}` is not a lock file of launch", hint="make it with `launch lock`, or remove it")
    entries = re.split(r"\n(?=[a-z0-9.-])", text.split("\n\n", 1)[-1])
    wheels = tuple(_parse_entry(path, entry) for entry in entries if entry.strip())
    lock = Lock(
        python,
        header["platform"],
        wheels,
        lock_digest(wheels, _packages(text, "provided by the base")),
        str(path),
        torch=header.get("torch"),
        provided=_packages(text, "provided by the base"),
        replaced=_packages(text, "replaces the base's"),
    )
    return LockFile(lock, minor_of(header["python"]), header["inputs"])


def _packages(text: str, word: str) -> Packages:
    """The packages of the base that head lines with *word* name."""
    return tuple(re.findall(rf"^# {word}: (\S+) (\S+)$", text, re.MULTILINE))


_ENTRY = re.compile(
    r"(?P<name>[a-z0-9._-]+)(?:==(?P<version>\S+)| @ (?P<url>\S+)) \\\n"
    r"    --hash=sha256:(?P<sha256>[0-9a-f]{64})\n"
    r"    # file: (?P<file>[^\s,/]+)(?:, (?P<size>\d+) bytes)?(?:, index: (?P<index>\S+))?\s*"
)


_CODE_ENTRY = re.compile(r"(?P<url>(?:-e )?\./\S*)\n    # package: (?P<name>\S+)")
_GIT_ENTRY = re.compile(r"(?P<name>\S+) @ (?P<url>git\+\S+)\n    # tree: (?P<sha256>[0-9a-f]{64}), version: (?P<version>\S+)")


def _parse_entry(path: Path, entry: str) -> LockedWheel:
    if (match := _CODE_ENTRY.fullmatch(entry.strip())) is not None:
        return LockedWheel.of_code(match["name"], match["url"])
    if (match := _GIT_ENTRY.fullmatch(entry.strip())) is not None:
        return LockedWheel.of_git(match["name"], match["version"], match["url"], match["sha256"])
    match = _ENTRY.fullmatch(entry.strip())
    if match is None or not (match["version"] or "-" in match["file"]):
        raise ConfigError(
            f"lock file `{path}` is damaged at `{entry.strip().splitlines()[0]}`", hint="make it again with `launch lock`"
        )
    filename = match["file"]
    return LockedWheel(
        name=match["name"],
        version=match["version"] or filename.split("-")[1],
        sha256=match["sha256"],
        filename=filename,
        index=match["index"],
        sdist=not filename.endswith(".whl"),
        size=int(match["size"]) if match["size"] else None,
        url=match["url"],
    )


def _read_pylock(path: Path, text: str, python: str) -> LockFile:
    import tomllib

    from launcher.plan.requirements.pylock import choose_files
    from launcher.plan.requirements.target import parse_target

    try:
        document = tomllib.loads(text)
        ours = document["tool"]["launch"]
        minor, platform, inputs = (str(ours[word]) for word in ("python", "platform", "inputs"))
        torch = ours.get("torch")
        provided, replaced = (tuple(ours.get(word, {}).items()) for word in ("provided", "replaced"))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"`{path}` is not a lock file of launch: {error}", hint="make it with `launch lock --format pylock.toml`"
        ) from error
    wheels = tuple(choose_files(document, parse_target(minor, platform), torch=torch))
    digest = lock_digest(wheels, provided)
    lock = Lock(python, platform, wheels, digest, str(path), torch=torch, provided=provided, replaced=replaced)
    return LockFile(lock, minor, inputs)


def current_lock(path: Path, request: RequirementRequest, python: BasePython) -> tuple[Lock | None, str | None]:
    """The lock in *path* if it was made from *request* for a base with *python*; else None and why it can't be used, in words. No
    file at all is (None, None)."""
    found = read_lock_file(path, python=python.version)
    if found is None:
        return None, None
    wanted = read_requirements(request)
    inputs = (request_digest(request, wanted, python), older_request_digest(request, wanted, python))
    why = _drift(found, inputs, python)
    return (found.lock, None) if why is None else (None, why)


def _drift(found: LockFile, inputs: Sequence[Digest], python: BasePython) -> str | None:
    """Why *found* may not be used for either of these *inputs* on a base with *python*, in words; None when it is current."""
    if found.python != python.minor:
        return f"it is for Python {found.python}, the base has {python.minor}"
    if found.lock.platform != python.platform:
        return f"it is for {found.lock.platform}, the base is {python.platform}"
    if found.inputs not in inputs:
        return "the requirements have changed since it was made"
    return _other_base(found.lock, {each.name: each.version for each in python.installed})


def _other_base(lock: Lock, has: Mapping[str, str]) -> str | None:
    """What the base has otherwise than *lock* counts on; packages that the lock doesn't touch don't matter."""
    expected = dict((*lock.provided, *lock.replaced))
    for name in sorted({*expected, *(wheel.name for wheel in lock.wheels)}):
        before, now = expected.get(name), has.get(name)
        if before != now:
            counts_on = f"it counts on `{name} {before}` of the base" if before else f"it was made for a base without `{name}`"
            return f"{counts_on}, and this one has {now or 'none'}"
    return None


def changes(old: Lock, new: Lock) -> list[str]:
    """What differs between two locks, one line a package: `numpy 2.4.6 → 2.5.5`, `+ humanize 4.17.0`, `- tqdm 4.67`."""
    before = {wheel.name: wheel for wheel in old.wheels}
    after = {wheel.name: wheel for wheel in new.wheels}
    lines = []
    for name in sorted(before | after):
        if name not in before:
            lines.append(f"+ {name} {after[name].version}")
        elif name not in after:
            lines.append(f"- {name} {before[name].version}")
        elif before[name].version != after[name].version:
            lines.append(f"{name} {before[name].version} → {after[name].version}")
        elif before[name].sha256 != after[name].sha256:
            lines.append(f"{name} {after[name].version}: another file, {after[name].filename}")
    return lines

"""What differs between two steps, in a person's words: `requirements: numpy 2.3 → 2.4`, `code: train.py changed`.

Each line begins with the key of the experiment, or the instruction of the Dockerfile, that the difference comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.plan import (
    ContextFiles,
    CopyFiles,
    CopyIn,
    DebPackage,
    FetchedFile,
    ImportImage,
    InlineFiles,
    InstallTree,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.build.step_label import step_label
from runtime.light_dataclasses import replace
from runtime.plurals import first_few

_MOST_NAMED = 6
_LONGEST_COMMAND = 100

_INSTRUCTION = re.compile(r"^\[(?:(?P<stage>\S+) )?\d+/\d+\] ")
"""What a Dockerfile's step is labelled with in front of the instruction: `[build 2/5] COPY . .`."""

Files = Mapping[str, tuple[int, str]]
"""Path → mode, sha256."""


_SUBJECTS: dict[type, str] = {
    ImportImage: "base",
    InstallWheel: "requirements",
    InstallTree: "requirements",
    MakeVenv: "python",
    CopyIn: "code",
    MakeDirectory: "WORKDIR",
}


def subject(step: Step) -> str:
    """What of an experiment or a Dockerfile *step* comes from."""
    match step:
        case UnpackDebs():
            return "image.apt" if step.onto_base else "base"
        case RunCommand():
            return _command_subject(step)
        case CopyFiles():
            return "ADD" if _INSTRUCTION.sub("", step.label).startswith("ADD") else "COPY"
    return _SUBJECTS[type(step)]


def _command_subject(step: RunCommand) -> str:
    if step.argv == CONFIGURE.argv:
        return "dpkg"
    if step.label.startswith("apt-get install "):
        return "image.apt"
    # Ours stop at the first failure (`-e`), which a Dockerfile's shell does not.
    if step.argv[:2] != ("/bin/sh", "-ec"):
        return "RUN"
    return "image.run" if step.cwd == "/" else "code.setup"


def describe(step: Step) -> str:
    """*step* as one that came or went is listed: `humanize 4.13.0`."""
    match step:
        case UnpackDebs():
            packages = [f"{deb.name} {deb.version}" for deb in step.packages]
            return first_few(packages, most=_MOST_NAMED) if step.onto_base else f"debian {step.suite}"
        case ImportImage():
            return f"{step.reference} ({_short(step.manifest_digest)})"
        case InstallTree():
            return step_label(step)
        case InstallWheel():
            return f"{step.name} {step.version}"
        case MakeVenv():
            return step.version
        case CopyIn() | CopyFiles():
            return step.target
        case RunCommand():
            return f"`{_command(step)}`"
        case MakeDirectory():
            return step.path


def step_changes(before: Step, now: Step) -> tuple[str, ...]:
    """The differences, one line each; none when the two make the same layer on the same layers."""
    match before, now:
        case UnpackDebs(), UnpackDebs():
            return _debs(before, now)
        case ImportImage(), ImportImage():
            return _base_image(before, now)
        case InstallTree(), InstallTree():
            return _tree(before, now)
        case InstallWheel(), InstallWheel():
            return _wheel(before, now)
        case MakeVenv(), MakeVenv():
            return _python(before, now)
        case CopyIn(), CopyIn():
            return _prefix("code", [*_move(before.target, now.target), *file_changes(_files(before.files), _files(now.files))])
        case RunCommand(), RunCommand():
            return _run(before, now)
        case CopyFiles(), CopyFiles():
            return _copy(before, now)
        case MakeDirectory(), MakeDirectory():
            return _prefix("WORKDIR", [*_move(before.path, now.path), *_field_change("owner", before.owner, now.owner)])
    return (f"{subject(now)}: {describe(before)} → {describe(now)}",)


def stage_name(step: Step) -> str | None:
    """The name of the Dockerfile's stage that *step* is part of, if its label has it."""
    label = step.label if isinstance(step, RunCommand | CopyFiles) else ""
    found = _INSTRUCTION.match(label)
    return None if found is None else found["stage"]


def _prefix(what: str, words: Sequence[str]) -> tuple[str, ...]:
    return (f"{what}: {first_few(words, most=_MOST_NAMED)}",) if words else ()


def _field_change(name: str, before: object, now: object) -> list[str]:
    return [f"{name} {before or '(none)'} → {now or '(none)'}"] if before != now else []


def _move(before: str, now: str) -> list[str]:
    return [f"{before} → {now}"] if before != now else []


def _short(digest: str) -> str:
    """`sha256:0123456789ab`"""
    return digest[:19]


def _debs(before: UnpackDebs, now: UnpackDebs) -> tuple[str, ...]:
    if before.suite != now.suite:
        return (f"{subject(now)}: debian {before.suite} → {now.suite}",)
    old, new = ({(deb.name, deb.architecture): deb for deb in step.packages} for step in (before, now))
    both = [key for key in new if key in old and old[key].sha256 != new[key].sha256]
    words = [_version_change(old[key], new[key]) for key in both]
    words += [f"+ {new[key].name} {new[key].version}" for key in new if key not in old]
    words += [f"- {old[key].name} {old[key].version}" for key in old if key not in new]
    return _prefix(subject(now), words)


def _version_change(before: DebPackage | InstallWheel, now: DebPackage | InstallWheel) -> str:
    if before.version != now.version:
        return f"{now.name} {before.version} → {now.version}"
    return f"{now.name} {now.version} is another file (sha256 {before.sha256[:12]} → {now.sha256[:12]})"


def _base_image(before: ImportImage, now: ImportImage) -> tuple[str, ...]:
    if before.manifest_digest == now.manifest_digest:
        return ()
    if before.reference != now.reference:
        return (f"base: {describe(before)} → {describe(now)}",)
    points = f"now points to {_short(now.manifest_digest)}, was {_short(before.manifest_digest)}"
    return (f"base: `{now.reference}` {points}",)


def _wheel(before: InstallWheel, now: InstallWheel) -> tuple[str, ...]:
    changes = []
    if before.sha256 != now.sha256:
        changes.append(f"requirements: {_version_change(before, now)}")
    changes += _interpreter_change(before.interpreter, now.interpreter)
    if before.built_on != now.built_on:
        changes.append(f"requirements: {now.name} is built on another base")
    changes += _move(before.prefix, now.prefix)
    return tuple(changes)


def _tree(before: InstallTree, now: InstallTree) -> tuple[str, ...]:
    if before.git != now.git:
        return (f"requirements: {step_label(before)} → {step_label(now)}",)
    then, since = _files(before.rows), _files(now.rows)
    if before.description != now.description:
        then[".git_archival.txt"], since[".git_archival.txt"] = (0, before.description), (0, now.description)
    if (before.contents is None) != (now.contents is None):
        return (f"requirements: {step_label(before)} → {step_label(now)}",)
    changes = [*_prefix("requirements", [f"{now.name}: {words}" for words in file_changes(then, since)])]
    return (*changes, *_wheel(replace(before, sha256=now.sha256), now))


def _interpreter_change(before: str, now: str) -> list[str]:
    """`python: 3.13.5 → 3.13.6` from `cpython-3.13.5-<digest>`; the digests where the version is the same."""
    if before == now:
        return []
    old, new = (name.removeprefix("cpython-").partition("-") for name in (before, now))
    return [f"python: {old[0]} → {new[0]}" if old[0] != new[0] else f"python: another build of {new[0]} ({old[2]} → {new[2]})"]


def _python(before: MakeVenv, now: MakeVenv) -> tuple[str, ...]:
    changes = _interpreter_change(before.interpreter, now.interpreter)
    moves = [*_move(before.executable, now.executable), *_move(before.prefix, now.prefix)]
    changes += [f"python: {words}" for words in moves]
    if (before.system_site_packages, before.site_directories) != (now.system_site_packages, now.site_directories):
        changes.append(f"python: the base's own packages can {'' if now.system_site_packages else 'no longer '}be imported")
    return tuple(changes)


def _run(before: RunCommand, now: RunCommand) -> tuple[str, ...]:
    what = subject(now)
    changes = []
    if (before.argv, before.stdin) != (now.argv, now.stdin):
        changes.append(f"{what}: command changed from `{_command(before)}` to `{_command(now)}`")
    others = [
        *env_changes(dict(before.env), dict(now.env)),
        *_field_change("network", before.network, now.network),
        *_field_change("directory", before.cwd, now.cwd),
        *_field_change("user", before.user, now.user),
        *_field_change("GPU", before.gpu, now.gpu),
        *_mounts(before.mounts, now.mounts),
    ]
    changes += [f"{what}: {words}" for words in others]
    if not changes and before.drop != now.drop:
        changes.append(f"{what}: launch leaves out other paths of the layer")
    return tuple(changes)


def _command(step: RunCommand) -> str:
    """What was written: the script without the shell around it, on one line and not too long."""
    is_script = len(step.argv) == 3 and step.argv[1] in ("-c", "-ec")
    words = re.sub(r"\s+", " ", step.argv[2] if is_script else " ".join(step.argv)).strip()
    if step.stdin:
        words += f" <<({len(step.stdin)} bytes)"
    return words if len(words) <= _LONGEST_COMMAND else f"{words[: _LONGEST_COMMAND - 1]}…"


def env_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """`env FOO changed from `1` to `2``, `env + FOO=1`, `env - FOO`."""
    words = [
        f"env {name} changed from `{before[name]}` to `{now[name]}`" for name in now if before.get(name, now[name]) != now[name]
    ]
    words += [f"env + {name}={now[name]}" for name in now if name not in before]
    return words + [f"env - {name}" for name in before if name not in now]


def _mounts(before: Sequence[RunMount], now: Sequence[RunMount]) -> list[str]:
    old, new = ({(mount.kind, mount.target): mount for mount in mounts} for mounts in (before, now))
    words = [f"mount + {kind} at {target}" for kind, target in new if (kind, target) not in old]
    words += [f"mount - {kind} at {target}" for kind, target in old if (kind, target) not in new]
    for key in new:
        if key in old and old[key] != new[key]:
            files = file_changes(_files(old[key].files), _files(new[key].files))
            words.append(f"mount at {key[1]}: {first_few(files, most=_MOST_NAMED) or 'changed'}")
    return words


def _files(files: Iterable[tuple[str, int, str]]) -> dict[str, tuple[int, str]]:
    return {path: (mode, sha256) for path, mode, sha256 in files}


def file_changes(before: Files, now: Files) -> list[str]:
    """`train.py changed`, `+ new.py`, `- old.py`, in this order."""
    both = [path for path in now if path in before and before[path] != now[path]]
    words = [
        f"{path} changed" if before[path][1] != now[path][1] else f"{path} mode {before[path][0]:04o} → {now[path][0]:04o}"
        for path in both
    ]
    words += [f"+ {path}" for path in now if path not in before]
    return words + [f"- {path}" for path in before if path not in now]


def _copy(before: CopyFiles, now: CopyFiles) -> tuple[str, ...]:
    words = [*_move(before.target, now.target), *_source_changes(before, now)]
    words += _field_change("owner", before.owner, now.owner)
    words += _field_change("mode", _octal(before.mode), _octal(now.mode))
    words += _field_change("link", before.link, now.link)
    return _prefix(f"{subject(now)} {now.target}", words)


def _octal(mode: int | None) -> str:
    return "" if mode is None else f"{mode:04o}"


def _source_changes(before: CopyFiles, now: CopyFiles) -> list[str]:
    match before.source, now.source:
        case ContextFiles() as old, ContextFiles() as new:
            then, since = (
                {place: (mode, sha256) for _, place, mode, sha256 in sorted(each.files, key=lambda file: file[1])}
                for each in (old, new)
            )
            return file_changes(then, since)
        case StageFiles() as old, StageFiles() as new:
            return _move(" ".join(old.patterns), " ".join(new.patterns))
        case FetchedFile() as old, FetchedFile() as new:
            return [f"{new.url} {_short(old.digest)} → {_short(new.digest)}"] if old.digest != new.digest else []
        case InlineFiles() as old, InlineFiles() as new:
            then, since = ({name: (0, text) for name, text in each.files} for each in (old, new))
            return file_changes(then, since)
    return ["copies from another kind of source"]

"""Freeze the code at the moment of launch: which files, their content's digests, and where git says they come from.

The files are those that git tracks or does not ignore, filtered by `code.include` and `code.exclude`; what `code.include` names
(`data/input.txt`, `data/*.bin`) is taken whatever git thinks of it. Where git is missing or refuses (another user's repository),
`code_listing.py` and `git_index.py` read the same from files; what is left out is `left_out.py`. Copying into an image is
`runtime.build.copy.apply_copy_files`, which checks each file against the digest taken here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from launcher.errors import ConfigError, Origin
from launcher.plan.code import git_calls
from launcher.plan.code.git_repository import Head, Repository, find_repository, read_head, remote_url
from launcher.plan.code.path_patterns import path_filter, plain_beginning
from launcher.plan.launch_plan import CodeSnapshot, GitState
from launcher.plan.stat_cache import StatCache, cache_for
from runtime.build.plan import LINK_MODE
from runtime.oci.digest import digest_json

_LARGE_BYTES = 200_000_000
_MODE_PROGRAM = 0o755
_MODE_FILE = 0o644


def snapshot(
    root: str,
    *,
    include: Sequence[str] = ("**",),
    exclude: Sequence[str] = (),
    cache_dir: Path,
    environ: Mapping[str, str] = os.environ,
    origin: Origin | None = None,
    leave_out: Sequence[Path] = (),
) -> CodeSnapshot:
    """The code below *root* now. *cache_dir* is `StateDir.cache`; *leave_out* are directories of ours that may lie inside."""
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        what = "is not a directory" if os.path.exists(root) else "does not exist"
        raise ConfigError(f"the code directory `{root}` {what}", origin=origin, hint="`code.root` names it")
    repository = find_repository(root)
    calls = _start_git(root) if repository is not None else None
    cache = cache_for(root, cache_dir=cache_dir)
    names, repository, dirty = _names_and_dirtiness(root, repository, calls, environ)
    if repository is not None:
        names = _with_named(root, names, include, environ)
    if leave_out:
        names = _without(names, root, leave_out)
    keep = path_filter(include, exclude).keeps
    files, size, warnings = _hash_all(root, [name for name in names if keep(name)], cache, origin)
    cache.save()
    return CodeSnapshot(
        root=root,
        files=files,
        digest=digest_json([list(file) for file in files]),
        size_bytes=size,
        git=_git_state(repository, dirty=dirty, asked_git=calls is not None),
        warnings=warnings,
    )


def list_code(root: str, *, environ: Mapping[str, str]) -> list[str]:
    """What is there of what git tracks or does not ignore below the directory *root*, resolved; without a repository all but what
    tools made."""
    repository = find_repository(root)
    names, _, _ = _names_and_dirtiness(root, repository, None if repository is None else _start_git(root), environ)
    return [name for name in names if os.path.lexists(os.path.join(root, name))]


def git_state(root: str, *, environ: Mapping[str, str]) -> GitState | None:
    """Where git says that the directory *root* comes from; None: from no work tree."""
    repository = find_repository(root)
    if repository is None:
        return None
    calls = _start_git(root)
    _, repository, dirty = _names_and_dirtiness(root, repository, calls, environ)
    return _git_state(repository, dirty=dirty, asked_git=calls is not None)


def _start_git(root: str) -> tuple[git_calls.GitCall, git_calls.GitCall] | None:
    try:
        return git_calls.start_listing(root), git_calls.start_status(root)
    except (FileNotFoundError, PermissionError):
        return None


def _names_and_dirtiness(
    root: str,
    repository: Repository | None,
    calls: tuple[git_calls.GitCall, git_calls.GitCall] | None,
    environ: Mapping[str, str],
) -> tuple[list[str], Repository | None, bool]:
    if repository is not None and calls is not None:
        listing, status = (call.output() for call in calls)
        if listing is not None and status is not None:
            listed, has_untracked = git_calls.listed_files(listing)
            names = _with_nested(repository.top, root, listed, environ)
            if names:
                return names, repository, has_untracked or git_calls.has_changes(status)
            # All of it is ignored: an installed package in a work tree's virtual environment is not that work tree's code.
            return _list(root, None, environ), None, False
    names = _list(root, repository, environ)
    if repository is None:
        return names, None, False
    return _names_by_index(root, repository, names)


def _names_by_index(root: str, repository: Repository, names: list[str]) -> tuple[list[str], Repository, bool]:
    from launcher.plan.code.git_index import differs, tracked_files

    prefix = repository.prefix_of(root)
    tracked = tracked_files(repository.git)
    if tracked is None:
        return names, repository, True
    below = {name[len(prefix) :] for name in tracked if name.startswith(prefix)}
    dirty = not below.issuperset(names) or differs(repository.git, repository.top)
    return sorted(below.union(names)), repository, dirty


def _list(root: str, repository: Repository | None, environ: Mapping[str, str]) -> list[str]:
    from launcher.plan.code.code_listing import list_files

    return list_files(root, repository, environ=environ)


def _with_nested(top: str, root: str, names: list[str], environ: Mapping[str, str]) -> list[str]:
    """*names* with the files of nested repositories: git lists an untracked clone as `name/` and a submodule as `name`."""
    nested = {name for name in names if name.endswith("/")}
    if os.path.exists(os.path.join(top, ".gitmodules")):
        nested |= {name for name in names if stat.S_ISDIR(os.lstat(os.path.join(root, name)).st_mode)}
    if not nested:
        return names
    found = set(names) - nested
    for name in nested:
        directory = name.rstrip("/")
        inner = os.path.join(root, directory)
        found.update(f"{directory}/{below}" for below in _list(inner, find_repository(inner), environ))
    return sorted(found)


def _with_named(root: str, names: list[str], include: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """*names* with what lies where the patterns of `code.include` begin, ignored or not."""
    beginnings = {pattern: plain_beginning(pattern) for pattern in include}
    if not any(beginnings.values()):
        return names
    named = path_filter(pattern for pattern, begin in beginnings.items() if begin)
    found = set(names)
    for begin in filter(None, beginnings.values()):
        path = os.path.join(root, begin)
        if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
            continue  # behind a link, which is part of the code itself, or leads out of it
        if os.path.isdir(path) and not os.path.islink(path):
            found.update(filter(named.keeps, (f"{begin}/{below}" for below in _list(path, None, environ))))
        elif os.path.lexists(path):
            found.add(begin)
    return sorted(found)


def _without(names: list[str], root: str, directories: Sequence[Path]) -> list[str]:
    prefixes = tuple(
        f"{os.path.relpath(inner, root)}/"
        for inner in (os.path.realpath(directory) for directory in directories)
        if inner.startswith(f"{root}/")
    )
    return [name for name in names if not name.startswith(prefixes)] if prefixes else names


def _hash_all(
    root: str, names: Sequence[str], cache: StatCache, origin: Origin | None
) -> tuple[tuple[tuple[str, int, str], ...], int, tuple[str, ...]]:
    files: list[tuple[str, int, str]] = []
    warnings: list[str] = []
    size = 0
    for name in names:
        path = f"{root}/{name}"
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(path)
                files.append((name, LINK_MODE, sha256(os.fsencode(target)).hexdigest()))
                if _leads_outside(name, target):
                    warnings.append(
                        f"code: `{name}` links to `{target}`, which is not part of the code and will be missing in the image"
                    )
            elif stat.S_ISREG(status.st_mode):
                mode = _MODE_PROGRAM if status.st_mode & 0o100 else _MODE_FILE
                files.append((name, mode, cache.sha256(name, path, status)))
                size += status.st_size
        except FileNotFoundError:
            # Tracked, but deleted in the work tree; or an editor's temporary file that is gone again.
            continue
        except PermissionError:
            raise ConfigError(f"cannot read `{path}`", origin=origin, hint="`code.exclude` leaves files out") from None
        if not _is_text(name):
            hint = "rename it, or leave it out with `code.exclude`"
            raise ConfigError(f"the file name {name!r} in `{root}` is not UTF-8", origin=origin, hint=hint)
    if size > _LARGE_BYTES:
        warnings.append(_too_large(root, files, size))
    return tuple(files), size, tuple(warnings)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _leads_outside(name: str, target: str) -> bool:
    if target.startswith("/"):
        return True
    return os.path.normpath(os.path.join(os.path.dirname(name), target)).split("/")[0] == ".."


def _too_large(root: str, files: Sequence[tuple[str, int, str]], size: int) -> str:
    largest = max(files, key=lambda file: os.lstat(f"{root}/{file[0]}").st_size)
    return (
        f"code: {size / 1e6:.0f} MB are copied into the image, the largest file is `{largest[0]}`; "
        "mount datasets with `data`, leave files out with `code.exclude` or .gitignore"
    )


def _git_state(repository: Repository | None, *, dirty: bool, asked_git: bool) -> GitState | None:
    head: Head | None = None if repository is None else read_head(repository)
    if repository is None or head is None:
        return None
    return GitState(
        commit=head.commit,
        branch=head.branch,
        dirty=dirty,
        remote_url=remote_url(repository),
        diff=git_calls.diff_to_head(repository.top) if dirty and asked_git else None,
    )

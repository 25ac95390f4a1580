"""The files of one commit of a git repository, fetched on this machine by the user's own git: `name @ git+https://…@rev`.

git finds the credentials itself (helpers, ssh-agent, netrc); none reaches a container, a plan or the files. What counts is the
content: submodules and Git LFS included, without `.git`, with end of lines as in the repository. A package that reads its
version from git finds it in a file (`git_version.py`). Building it is `sdist.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from runtime.build.plan import LINK_MODE
from runtime.build.wheels.git_version import COMMIT_AND_DATE, DESCRIBE, DESCRIPTION, description_text, takes_version_from_git
from runtime.errors import BadContent, BuildError, NetworkError, NotAvailable, Unsupported
from runtime.layer.tree import printable
from runtime.oci.digest import Digest, digest_json

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class GitSource(NamedTuple):
    """A place in a repository."""

    repository: str
    """Without user and password (of ssh: without password)."""
    revision: str
    """A commit; before it is pinned also a branch, a tag, or "" for the repository's HEAD."""
    subdirectory: str = ""

    @property
    def url(self) -> str:
        """As a requirement has it: `git+https://host/path@rev#subdirectory=dir`."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"git+{self.repository}{revision}" + (f"#subdirectory={self.subdirectory}" if self.subdirectory else "")


_SCP = re.compile(r"\A([\w.-]+@[\w.-]+):(?!//)")
"""`git@host:path`, the short form of ssh in lock files of poetry."""


def parse_git_url(url: str) -> tuple[GitSource, str]:
    """*url* as pip writes it ("VCS Support"), and the repository's address with user and password as it was written. Raises
    BadContent."""
    scheme, host, path, query, fragment = urlsplit(_SCP.sub(r"ssh://\1/", url.removeprefix("git+")))
    if scheme not in ("https", "http", "ssh", "git", "file") or not path.strip("/"):
        hint = "`git+https://host/path.git@rev`, `git+ssh://git@host/path.git@rev` and `git+file:///path@rev` are understood"
        raise BadContent(f"`{printable(_without_secrets(url))}` is no address of a git repository", hint=hint)
    path, _, revision = path.partition("@")
    options = dict(option.partition("=")[::2] for option in fragment.split("&"))
    subdirectory = os.path.normpath(options.get("subdirectory", "").strip("/") or ".")
    if subdirectory.startswith("..") or revision.startswith("-"):
        raise BadContent(f"`{printable(_without_secrets(url))}` leads out of its repository")
    user, at, name = host.rpartition("@")
    shown = f"{user.partition(':')[0]}@{name}" if at and scheme == "ssh" else name
    source = GitSource(urlunsplit((scheme, shown, path, query, "")), revision, "" if subdirectory == "." else subdirectory)
    return source, urlunsplit((scheme, host, path, query, ""))


def _without_secrets(words: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://", words)


class GitTree(NamedTuple):
    """What a commit holds."""

    commit: str
    digest: Digest
    """Of the paths, modes and contents of its files."""


def fetch_tree(source: GitSource, target: Path, *, environ: Mapping[str, str], address: str = "") -> GitTree:
    """The files of *source* in the new directory *target*. *address* is the repository's, with what *source* leaves out of it.

    Raises NotAvailable for a revision or subdirectory that isn't there, NetworkError where the repository can't be reached.
    """
    git = _Git(target, _environment(environ, source.repository, address or source.repository), source.repository)
    git.run("init", "--quiet", "--template=", os.fspath(target), at=target.parent)
    git.run("remote", "add", "origin", source.repository)
    commit = _fetch(git, source.revision)
    git.run("checkout", "--quiet", "--force", "--detach", commit)
    if (target / ".gitmodules").is_file():
        git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1")
    if not (target / source.subdirectory).is_dir():
        raise NotAvailable(f"`{source.repository}` has no directory `{source.subdirectory}` at {source.revision or 'HEAD'}")
    _write_description(git, target / source.subdirectory)
    _refuse_pointers(target, source.repository, environ)
    _remove_git(target)
    return GitTree(commit, tree_digest(target))


class _Git:
    """git in one work tree."""

    def __init__(self, work_tree: Path, env: Mapping[str, str], repository: str) -> None:
        self._work_tree = work_tree
        self._env = env
        self.repository = repository

    def run(self, *arguments: str, at: Path | None = None) -> str:
        """What git printed. Raises what its words mean."""
        done = self.attempt(*arguments, at=at)
        if done.returncode != 0:
            raise _failure(self.repository, arguments, done.stderr)
        return done.stdout.strip()

    def attempt(self, *arguments: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", "-C", os.fspath(at or self._work_tree), *arguments],
                env=dict(self._env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except (FileNotFoundError, PermissionError):
            hint = "install git: requirements from git repositories are fetched with it"
            raise Unsupported("the `git` program is missing", hint=hint) from None


def _environment(environ: Mapping[str, str], repository: str, address: str) -> dict[str, str]:
    """The user's own, without what points git at another repository, and with the settings that contents depend on."""
    pointing = (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
    )
    env = {name: value for name, value in environ.items() if name not in pointing}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    env = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "60", **env}
    settings = {"core.autocrlf": "false", "core.eol": "lf", "core.symlinks": "true", "core.hooksPath": os.devnull}
    settings["advice.detachedHead"] = "false"
    if repository.startswith("file:"):
        settings["protocol.file.allow"] = "always"  # its submodules may be repositories of this machine, as it is
    if shutil.which("git-lfs", path=env.get("PATH")):
        # For whoever never ran `git lfs install`.
        settings |= {"filter.lfs.smudge": "git-lfs smudge -- %f", "filter.lfs.required": "true"}
    if address != repository:
        # In the environment, where other users don't see it, and in no file.
        settings[f"url.{address}.insteadOf"] = repository
    first = int(env.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(settings.items(), first):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**env, "GIT_CONFIG_COUNT": str(first + len(settings))}


_NOT_OFFERED = ("couldn't find remote ref", "not our ref", "unadvertised object", "does not support shallow", "dumb http")


def _fetch(git: _Git, revision: str) -> str:
    """Fetch *revision* alone where the server gives it by that name, else everything. Returns its commit."""
    done = git.attempt("fetch", "--quiet", "--no-tags", "--depth", "1", "origin", revision or "HEAD")
    if done.returncode == 0:
        return git.run("rev-parse", "FETCH_HEAD^{commit}")
    if not any(sign in done.stderr for sign in _NOT_OFFERED):
        raise _failure(git.repository, ("fetch",), done.stderr)
    git.run("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
    git.run("remote", "set-head", "origin", "--auto")
    for name in (f"tags/{revision}", f"origin/{revision}", revision) if revision else ("origin/HEAD",):
        found = git.attempt("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
        if found.returncode == 0:
            return found.stdout.strip()
    hint = f"`git ls-remote {git.repository}` lists its branches and tags"
    raise NotAvailable(f"`{git.repository}` has no revision `{revision}`", hint=hint)


_ACCESS = ("could not read Username", "could not read Password", "Authentication failed", "Permission denied", "403", "401")
_NETWORK = ("Could not resolve", "unable to access", "Connection", "connect to", "Could not read from remote", "timed out")


def _failure(repository: str, arguments: tuple[str, ...], words: str) -> BuildError | NetworkError:
    said = _without_secrets(words).strip()
    message = f"git cannot fetch `{repository}`: {said}"
    if any(sign in said for sign in _ACCESS):
        hint = f"it is fetched with your own git: `git ls-remote {repository}` must work here without asking for a password"
        return NetworkError(message, hint=hint)
    if any(sign in said for sign in _NETWORK):
        return NetworkError(message, hint="check the address, the network and the proxy")
    if arguments[0] == "fetch" or "does not exist" in said or "not found" in said:
        return NotAvailable(message)
    return BuildError(f"`git {arguments[0]}` failed in a copy of `{repository}`: {said}")


_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def _write_description(git: _Git, project: Path) -> None:
    """For a package that takes its version from git; that needs its history."""
    texts = [(project / name).read_text(errors="replace") for name in _BUILD_FILES if (project / name).is_file()]
    if not takes_version_from_git(texts):
        return
    if git.run("rev-parse", "--is-shallow-repository") == "true":
        git.run("fetch", "--quiet", "--unshallow", "--tags", "origin")
    found = git.attempt(*DESCRIBE)
    if found.returncode == 0:
        text = description_text(found.stdout, git.run(*COMMIT_AND_DATE))
        (project / DESCRIPTION).write_text(text, encoding="utf-8")


_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def _refuse_pointers(root: Path, repository: str, environ: Mapping[str, str]) -> None:
    """A file of Git LFS that was not fetched is some lines that say where it is: no package is built from those."""
    if environ.get("GIT_LFS_SKIP_SMUDGE") == "1":
        return
    left = [path for path, status in _files(root) if status.st_size < 1024 and _starts_with(root / path, _POINTER)]
    if left:
        names = f"`{left[0]}`" + (f" and {len(left) - 1} more" if len(left) > 1 else "")
        hint = "install git-lfs; GIT_LFS_SKIP_SMUDGE=1 takes the pointers as they are"
        raise Unsupported(f"`{repository}` keeps {names} in Git LFS, and git-lfs is missing here", hint=hint)


def _starts_with(path: Path, head: bytes) -> bool:
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _remove_git(root: Path) -> None:
    """`.git` of the repository and of its submodules: it differs from fetch to fetch."""
    for directory, names, files in os.walk(root):
        if ".git" in names:
            shutil.rmtree(os.path.join(directory, ".git"))
            names.remove(".git")
        elif ".git" in files:
            os.unlink(os.path.join(directory, ".git"))


def tree_digest(root: Path) -> Digest:
    """Digest of all files and links below *root*, the same on every machine: a file counts as executable or not."""
    rows = []
    for path, status in _files(root):
        if stat.S_ISLNK(status.st_mode):
            rows.append([path, LINK_MODE, hashlib.sha256(os.fsencode(os.readlink(root / path))).hexdigest()])
        else:
            with (root / path).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            rows.append([path, 0o755 if status.st_mode & 0o100 else 0o644, content])
    return digest_json(sorted(rows))


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    for directory, names, files in os.walk(root):
        if ".git" in names:
            names.remove(".git")
        for name in (*files, *(each for each in names if os.path.islink(os.path.join(directory, each)))):
            path = os.path.join(directory, name)
            yield os.path.relpath(path, root), os.lstat(path)

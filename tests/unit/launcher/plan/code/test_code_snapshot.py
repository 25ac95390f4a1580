"""The code as it is at the moment of launch, with git, without it, and where git refuses."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from launcher.errors import ConfigError
from launcher.plan import stat_cache
from launcher.plan.code import git_calls
from launcher.plan.code.code_snapshot import snapshot
from launcher.plan.code.left_out import left_out_of, left_out_words

WITHOUT_GIT = "/nonexistent"


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """No settings of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("GIT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return os.environ


@pytest.fixture
def code(tmp_path):
    root = tmp_path / "code"
    root.mkdir()
    (root / "train.py").write_text("print(1)\n")
    (root / "lib").mkdir()
    (root / "lib" / "net.py").write_text("x = 1\n")
    return root


@pytest.fixture
def take(tmp_path, environ):
    def take(root, **options):
        return snapshot(str(root), cache_dir=tmp_path / "cache", environ=environ, **options)

    return take


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(code):
    git(code, "init", "-q", "-b", "main")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "first")
    return code


def names(taken):
    return [name for name, _, _ in taken.files]


def test_a_plain_directory_is_taken_whole(code, take):
    taken = take(code)
    assert names(taken) == ["lib/net.py", "train.py"]
    assert taken.git is None
    assert taken.size_bytes == 15


def test_what_tools_left_behind_is_not_code(code, take):
    for name in ("__pycache__/a.pyc", ".venv/bin/x", "env/pyvenv.cfg", "env/lib/y.py", ".mypy_cache/z"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("")
    assert names(take(code)) == ["lib/net.py", "train.py"]


def test_gitignore_counts_only_in_a_repository(code, take):
    """An unpacked archive of a repository has the file, too, and nobody whose work it is to ignore anything."""
    (code / ".gitignore").write_text("*.bin\n/lib/\n")
    (code / "weights.bin").write_bytes(b"\0")
    assert names(take(code)) == [".gitignore", "lib/net.py", "train.py", "weights.bin"]
    git(code, "init", "-q")
    assert names(take(code)) == [".gitignore", "train.py"]


@pytest.mark.parametrize("path", [pytest.param(None, id="asked of git"), pytest.param(WITHOUT_GIT, id="without git")])
def test_a_deeper_gitignore_wins(repository, take, monkeypatch, path):
    (repository / ".gitignore").write_text("*.bin\n")
    (repository / "lib" / ".gitignore").write_text("!small.bin\n")
    (repository / "lib" / "small.bin").write_bytes(b"\0")
    (repository / "big.bin").write_bytes(b"\0")
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert "lib/small.bin" in names(take(repository))
    assert "big.bin" not in names(take(repository))


@pytest.fixture
def prepared(repository):
    """A repository in which data were prepared, as its .gitignore expects."""
    (repository / ".gitignore").write_text("/data/\ninput.txt\n*.pt\n__pycache__/\n")
    for name, size in {"data/train.bin": 2000, "data/a/val.bin": 100, "lib/input.txt": 30, "w.pt": 5}.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(b"x" * size)
    (repository / "lib" / "__pycache__").mkdir()
    (repository / "lib" / "__pycache__" / "net.pyc").write_bytes(b"x")
    return repository


@pytest.mark.parametrize(
    ("include", "brought"),
    [
        pytest.param("lib/input.txt", ["lib/input.txt"], id="a file"),
        pytest.param("data", ["data/a/val.bin", "data/train.bin"], id="a directory"),
        pytest.param("data/*.bin", ["data/train.bin"], id="some files of a directory"),
        pytest.param("*.pt", [], id="a pattern for what there is of the code"),
        pytest.param("../code/w.pt", [], id="a way out"),
        pytest.param("gone/x", [], id="what is not there"),
    ],
)
def test_what_include_names_is_taken_whatever_git_ignores(prepared, take, include, brought):
    code = [".gitignore", "lib/net.py", "train.py"]
    assert names(take(prepared)) == code
    assert names(take(prepared, include=["**", include])) == sorted([*code, *brought])


def test_what_git_ignores_is_named_with_its_size(prepared, take, environ):
    left_out = left_out_of(take(prepared), environ=environ)
    assert [("data/", 2, 2100), ("lib/input.txt", 1, 30), ("w.pt", 1, 5)] == list(left_out)
    assert "`data/` (2 files, 2.1 KB), `lib/input.txt` (30 B), `w.pt` (5 B)" == left_out_words(left_out)
    brought = take(prepared, include=["**", "data/train.bin", "w.pt"])
    assert [("data/", 1, 100), ("lib/input.txt", 1, 30)] == list(left_out_of(brought, environ=environ))


def test_a_tracked_file_is_not_left_out_though_it_is_ignored(repository, take, environ):
    (repository / ".gitignore").write_text("train.py\n")
    assert () == left_out_of(take(repository), environ=environ)


def test_without_a_repository_nothing_is_left_out(code, take, environ):
    (code / ".gitignore").write_text("*.py\n")
    assert () == left_out_of(take(code), environ=environ)


def test_digest_depends_on_content_and_mode_not_on_time_or_place(code, take, tmp_path):
    first = take(code).digest
    os.utime(code / "train.py", (1, 1))
    assert first == take(code).digest
    moved = code.rename(tmp_path / "moved")
    assert first == take(moved).digest
    (moved / "train.py").chmod(0o755)
    assert first != take(moved).digest
    (moved / "train.py").chmod(0o640)
    assert first == take(moved).digest


def test_an_edit_of_the_same_size_and_mtime_is_seen(code, take):
    """The stat cache must not trust mtime alone: `touch -d` and rsync set it back."""
    first = take(code).digest
    status = (code / "train.py").stat()
    (code / "train.py").write_text("print(2)\n")
    os.utime(code / "train.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert first != take(code).digest


def test_tracked_and_untracked_files_are_taken_ignored_ones_are_not(repository, take):
    (repository / ".gitignore").write_text("*.bin\n")
    (repository / "new.py").write_text("")
    (repository / "a.bin").write_text("")
    assert names(take(repository)) == [".gitignore", "lib/net.py", "new.py", "train.py"]


def test_a_tracked_file_that_is_ignored_is_code(repository, take, monkeypatch):
    (repository / ".gitignore").write_text("train.py\n")
    assert "train.py" in names(take(repository))
    monkeypatch.setenv("PATH", WITHOUT_GIT)
    assert "train.py" in names(take(repository))


def test_a_deleted_tracked_file_is_gone(repository, take):
    (repository / "train.py").unlink()
    taken = take(repository)
    assert names(taken) == ["lib/net.py"]
    assert taken.git.dirty


def test_revision_branch_and_remote_are_recorded_without_password(repository, take):
    git(repository, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    state = take(repository).git
    assert git(repository, "rev-parse", "HEAD") == state.commit
    assert state.branch == "main"
    assert not state.dirty
    assert state.remote_url == "https://example.org/x.git"
    assert state.diff is None


def test_an_edit_makes_it_dirty_and_is_recorded_as_diff(repository, take):
    (repository / "train.py").write_text("print(2)\n")
    state = take(repository).git
    assert state.dirty
    assert "+print(2)" in state.diff


def test_an_untracked_file_outside_the_code_does_not_make_it_dirty(repository, take):
    (repository / "scratch.txt").write_text("")
    assert not take(repository / "lib").git.dirty
    assert take(repository).git.dirty


def test_a_stash_does_not_make_it_dirty(repository, take):
    git(repository, "config", "status.showStash", "true")
    (repository / "lib" / "net.py").write_text("stashed\n")
    git(repository, "stash", "-q")
    assert not take(repository).git.dirty


def test_a_tracked_edit_outside_the_code_makes_it_dirty(repository, take):
    """The run is not what the commit holds: another file of it may be the configuration."""
    (repository / "train.py").write_text("print(2)\n")
    assert take(repository / "lib").git.dirty


def test_a_detached_head_has_no_branch(repository, take):
    git(repository, "checkout", "-q", "--detach")
    assert take(repository).git.branch is None


def test_packed_references_are_read(repository, take):
    git(repository, "pack-refs", "--all")
    assert git(repository, "rev-parse", "HEAD") == take(repository).git.commit


def test_a_repository_without_a_commit_has_no_revision(code, take):
    git(code, "init", "-q")
    taken = take(code)
    assert taken.git is None
    assert names(taken) == ["lib/net.py", "train.py"]


def test_a_linked_work_tree_has_its_own_head(repository, take, tmp_path):
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    state = take(tmp_path / "linked").git
    assert state.branch == "other"
    assert git(repository, "rev-parse", "HEAD") == state.commit


def test_a_submodule_is_part_of_the_code(repository, take, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "i.py").write_text("")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "inner")
    git(repository, "submodule", "add", "-q", str(inner), "vendor")
    assert "vendor/i.py" in names(take(repository))
    git(repository, "commit", "-q", "-m", "vendor")
    git(repository, "config", "submodule.vendor.ignore", "all")
    assert not take(repository).git.dirty
    (repository / "vendor" / "more.py").write_text("")
    taken = take(repository)
    assert "vendor/more.py" in names(taken)
    assert taken.git.dirty


def test_a_nested_clone_is_part_of_the_code(repository, take):
    nested = repository / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "n.py").write_text("")
    assert "nested/n.py" in names(take(repository))


def test_an_ignored_directory_is_code_of_its_own(repository, take):
    """`site-packages` in a work tree's virtual environment: shipped experiments lie there."""
    (repository / ".gitignore").write_text("env\n")
    (repository / "env" / "pkg").mkdir(parents=True)
    (repository / "env" / "pkg" / "train.py").write_text("")
    taken = take(repository / "env" / "pkg")
    assert names(taken) == ["train.py"]
    assert taken.git is None


@pytest.mark.parametrize("change", ["none", "edit", "stage", "untracked", "delete", "mode", "touch"])
def test_without_git_the_answer_is_the_same(repository, take, monkeypatch, change):
    (repository / "link").symlink_to("train.py")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "link")
    match change:
        case "edit":
            (repository / "train.py").write_text("print(2)\n")
        case "stage":
            (repository / "train.py").write_text("print(2)\n")
            git(repository, "add", ".")
        case "untracked":
            (repository / "new.py").write_text("")
        case "delete":
            (repository / "train.py").unlink()
        case "mode":
            (repository / "train.py").chmod(0o755)
        case "touch":
            os.utime(repository / "train.py", (1, 1))
    with_git = take(repository)
    monkeypatch.setenv("PATH", WITHOUT_GIT)
    without = take(repository)
    assert with_git.files == without.files
    assert (with_git.git.commit, with_git.git.branch, with_git.git.dirty) == (
        without.git.commit,
        without.git.branch,
        without.git.dirty,
    )


@pytest.mark.parametrize("version", [2, 4])
def test_index_versions_are_read(repository, take, monkeypatch, version):
    git(repository, "update-index", f"--index-version={version}")
    git(repository, "commit", "-q", "--allow-empty", "-m", "again")
    monkeypatch.setenv("PATH", WITHOUT_GIT)
    assert not take(repository).git.dirty


def test_a_repository_that_git_refuses_is_read_without_it(repository, take):
    """As for root in another user's repository (safe.directory)."""
    (repository / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 99\n")
    taken = take(repository)
    assert names(taken) == ["lib/net.py", "train.py"]
    assert taken.git.branch == "main"


def test_symlinks_are_kept_and_one_that_leads_outside_is_told(code, take):
    (code / "inside").symlink_to("lib/net.py")
    (code / "outside").symlink_to("../elsewhere")
    taken = take(code)
    assert {mode for name, mode, _ in taken.files if name.endswith("side")} == {0o120777}
    assert ["outside" in warning for warning in taken.warnings] == [True]


def test_special_files_are_left_out(code, take):
    os.mkfifo(code / "pipe")
    assert "pipe" not in names(take(code))


def test_a_name_that_is_not_utf8_is_refused(code, take):
    with open(os.fsencode(code) + b"/\xff.py", "w"):
        pass
    with pytest.raises(ConfigError, match="not UTF-8"):
        take(code)


def test_include_and_exclude_filter(code, take):
    assert names(take(code, include=["*.py"], exclude=["lib"])) == ["train.py"]


def test_a_missing_directory_is_named(tmp_path, take):
    with pytest.raises(ConfigError, match=r"the code directory `.*/nowhere` does not exist"):
        take(tmp_path / "nowhere")


def test_our_own_state_inside_the_code_is_left_out(code, take):
    (code / "state").mkdir()
    (code / "state" / "huge").write_text("")
    assert "state/huge" not in names(take(code, leave_out=[code / "state"]))


def test_a_warm_snapshot_reads_no_content(code, take, monkeypatch):
    time.sleep(0.06)  # a file changed within the last tick is not remembered: see stat_cache
    first = take(code)

    def refuse(*_):
        raise AssertionError("a file was hashed")

    monkeypatch.setattr(stat_cache.hashlib, "file_digest", refuse)
    assert first.digest == take(code).digest


def test_a_git_that_hangs_does_not_hang_the_launch(repository, take, tmp_path, monkeypatch):
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nsleep 60\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:/usr/bin:/bin")
    monkeypatch.setattr(git_calls, "_TIMEOUT_S", 0.2)
    taken = take(repository)
    assert names(taken) == ["lib/net.py", "train.py"]

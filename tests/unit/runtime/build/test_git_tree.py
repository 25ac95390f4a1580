"""The files of a commit, as the user's git fetches them: the same on every machine, and nothing of the user in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_repository import WHO, Repository, served_privately

from runtime.build.wheels.git_tree import GitSource, GitTree, fetch_tree, parse_git_url
from runtime.errors import BadContent, NetworkError, NotAvailable, Unsupported

ENVIRON = {**os.environ, **WHO}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def fetched(repository: Repository, target: Path, revision: str = "", below: str = "", **environ: str) -> GitTree:
    source, _ = parse_git_url(f"{repository.url}@{revision}#subdirectory={below}")
    return fetch_tree(source, target, environ={**ENVIRON, **environ})


def names(directory: Path) -> list[str]:
    return sorted(os.path.relpath(path, directory) for path in directory.rglob("*") if not path.is_dir())


def test_a_branch_a_tag_a_commit_its_beginning_and_nothing_lead_to_a_commit(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit({"a": "1"})
    repository.git("tag", "v1")
    repository.git("branch", "old")
    second = repository.commit({"a": "2"})
    asked = {"v1": first, "old": first, first: first, first[:10]: first, "": second, "main": second}
    assert asked == {revision: fetched(repository, tmp_path / f"t-{revision}", revision).commit for revision in asked}
    assert "1" == (tmp_path / "t-v1/a").read_text()


def test_two_fetches_of_one_commit_are_equal_whatever_the_users_settings(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"text": "a\nb\n", ".gitattributes": "* text=auto\n", "sub/run.sh": "#!/bin/sh\n"})
    os.chmod(repository.root / "sub/run.sh", 0o755)
    (repository.root / "link").symlink_to("text")
    repository.commit({})
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "true"}
    before = os.umask(0o077)
    try:
        one = fetched(repository, tmp_path / "one", **settings)
    finally:
        os.umask(before)
    assert one == fetched(repository, tmp_path / "two")
    assert [".gitattributes", "link", "sub/run.sh", "text"] == names(tmp_path / "one")


def test_submodules_are_part_of_it(repository: Repository, tmp_path: Path) -> None:
    inner = Repository(tmp_path / "inner")
    inner.commit({"inner.txt": "x"})
    repository.commit({"a": "1"})
    repository.git("submodule", "--quiet", "add", f"file://{inner.root}", "vendor/inner")
    repository.commit({})
    fetched(repository, tmp_path / "tree")
    assert [".gitmodules", "a", "vendor/inner/inner.txt"] == names(tmp_path / "tree")


def test_files_of_lfs_are_fetched_by_git_lfs(repository: Repository, tmp_path: Path) -> None:
    """The program stands in for git-lfs: what matters is that git is told to call it, though nobody ran `git lfs install`."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    repository.commit({"weights.bin": pointer, ".gitattributes": "*.bin filter=lfs\n"})
    with pytest.raises(Unsupported, match=r"`weights\.bin` in Git LFS, and git-lfs is missing") as failed:
        fetched(repository, tmp_path / "without")
    assert "install git-lfs" in (failed.value.hint or "")
    assert fetched(repository, tmp_path / "pointers", GIT_LFS_SKIP_SMUDGE="1").digest
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git-lfs").write_text('#!/bin/sh\n[ "$1" = smudge ] || exit 1\ncat > /dev/null\nprintf real\n')
    (programs / "git-lfs").chmod(0o755)
    fetched(repository, tmp_path / "with", PATH=f"{programs}:{os.environ['PATH']}")
    assert "real" == (tmp_path / "with/weights.bin").read_text()


def test_a_package_that_asks_git_for_its_version_finds_it_in_a_file(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"pyproject.toml": '[build-system]\nrequires = ["setuptools-scm"]\n'})
    repository.git("tag", "v1.2")
    commit = repository.commit({"a": "1"})
    fetched(repository, tmp_path / "tree")
    assert f"describe-name: v1.2-1-g{commit[:7]}" in (tmp_path / "tree/.git_archival.txt").read_text()


def test_what_is_not_there_is_named(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(NotAvailable, match="has no revision `v9`") as failed:
        fetched(repository, tmp_path / "one", "v9")
    assert "git ls-remote" in (failed.value.hint or "")
    with pytest.raises(NotAvailable, match="no directory `python`"):
        fetched(repository, tmp_path / "two", below="python")
    with pytest.raises((NotAvailable, NetworkError), match="cannot fetch `file:///"):
        fetch_tree(GitSource(f"file://{tmp_path}/nowhere", ""), tmp_path / "three", environ=ENVIRON)
    with pytest.raises(Unsupported, match="`git` program is missing"):
        fetched(repository, tmp_path / "four", PATH=str(tmp_path))


@pytest.mark.parametrize(
    ("url", "source", "address"),
    [
        ("git+https://h.test/a/b.git@v1", GitSource("https://h.test/a/b.git", "v1"), "https://h.test/a/b.git"),
        ("git+https://me:pw@h.test/a#subdirectory=x/y", GitSource("https://h.test/a", "", "x/y"), "https://me:pw@h.test/a"),
        ("git+https://token@h.test/a@b/c", GitSource("https://h.test/a", "b/c"), "https://token@h.test/a"),
        ("git+ssh://git@h.test/a@v1", GitSource("ssh://git@h.test/a", "v1"), "ssh://git@h.test/a"),
        ("git+git@h.test:a/b.git@v1", GitSource("ssh://git@h.test/a/b.git", "v1"), "ssh://git@h.test/a/b.git"),
        ("git+ssh://git:pw@h.test:22/a", GitSource("ssh://git@h.test:22/a", ""), "ssh://git:pw@h.test:22/a"),
    ],
)
def test_an_address_is_read_as_pip_reads_it(url: str, source: GitSource, address: str) -> None:
    assert (source, address) == parse_git_url(url)
    assert source == parse_git_url(source.url)[0]


@pytest.mark.parametrize(
    "url",
    [
        "git+ftp://h/a",
        "git+https://h",
        "git+https://h/a@--upload-pack=x",
        "git+file:///a#subdirectory=../b",
    ],
)
def test_a_strange_address_is_refused(url: str) -> None:
    with pytest.raises(BadContent):
        parse_git_url(url)


@pytest.fixture
def private(repository: Repository) -> Iterator[str]:
    repository.commit({"a": "secret sauce"})
    with served_privately(repository) as place:
        yield place


def test_a_password_in_an_address_is_used_and_kept_nowhere(private: str, tmp_path: Path) -> None:
    source, address = parse_git_url(f"git+http://me:s3cret@{private}/.git")
    tree = fetch_tree(source, tmp_path / "tree", environ=ENVIRON, address=address)
    assert ["a"] == names(tmp_path / "tree")
    assert "s3cret" not in source._replace(revision=tree.commit).url


def test_the_users_credential_helper_is_asked(private: str, tmp_path: Path) -> None:
    helper = "!f() { echo username=me; echo password=s3cret; }; f"
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": helper}
    source, _ = parse_git_url(f"git+http://{private}/.git")
    assert fetch_tree(source, tmp_path / "tree", environ={**ENVIRON, **settings}).commit


def test_without_a_password_the_error_says_whose_it_takes(private: str, tmp_path: Path) -> None:
    source, _ = parse_git_url(f"git+http://{private}/.git")
    with pytest.raises(NetworkError, match="cannot fetch") as failed:
        fetch_tree(source, tmp_path / "tree", environ=ENVIRON)
    assert "your own git" in (failed.value.hint or "")


def test_a_wrong_password_is_not_shown(private: str, tmp_path: Path) -> None:
    source, address = parse_git_url(f"git+http://me:wr0ng@{private}/.git")
    with pytest.raises(NetworkError) as failed:
        fetch_tree(source, tmp_path / "tree", environ=ENVIRON, address=address)
    assert "wr0ng" not in failed.value.message

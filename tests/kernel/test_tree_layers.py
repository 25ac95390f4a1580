"""Trees of sources become layers: built by their own code in a real container, editable ones without seeing their modules."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from git_repository import WHO, Repository
from source_package import package_files
from wheel_shop import PYTHON, Shop

from runtime.build.cache_key import step_key
from runtime.build.plan import InstallTree
from runtime.build.wheels.git_tree import parse_git_url, tree_digest
from runtime.errors import BadContent, BuildError
from runtime.light_dataclasses import replace
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns")

FILES = package_files("pkg")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    tmp_path.chmod(0o755)
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    return Shop(tmp_path / "shop")


def git_step(repository: Repository, commit: str, digest: str) -> InstallTree:
    url = parse_git_url(f"{repository.url}@{commit}")[0].url
    return InstallTree("pkg", "1.0", digest, "pkg 1.0", "cpython-test", PYTHON, git=url)


def code_step(code: Path, *, read: tuple[str, ...] | None = None, target: str = "") -> InstallTree:
    files = tuple(
        (os.path.relpath(path, code), 0o644, sha256(path.read_bytes()).hexdigest())
        for path in sorted(code.rglob("*"))
        if path.is_file()
    )
    step = InstallTree("pkg", "", "", "pkg", "cpython-test", PYTHON, source=str(code), files=files, contents=read, target=target)
    return replace(step, sha256=step.content_digest.hex)


def write(code: Path, **changed: str) -> Path:
    for name, text in {**FILES, **changed}.items():
        path = code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code


READ = ("pyproject.toml", "backend.py", "src/pkg/_fast.c")
SEEN = "import importlib.metadata as m; print(m.distribution('pkg').read_text('seen.txt'))"


def test_a_commit_is_built_in_a_container_and_is_a_layer(shop: Shop, store: Store, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit(FILES)
    (tmp_path / "plain").mkdir()
    digest = tree_digest(write(tmp_path / "plain")).hex
    shop.tree(git_step(repository, commit, digest))
    assert "1\n" == shop.install(store).run("python3", "-c", "import pkg; print(pkg.x)")


def test_a_commit_that_holds_other_files_than_were_locked_is_not_built(shop: Shop, store: Store, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    shop.tree(git_step(repository, repository.commit(FILES), "0" * 64))
    with pytest.raises(BadContent, match="holds other files than were locked"):
        shop.install(store)
    assert [] == [path for path in (store.root / "tmp").iterdir() if path.is_dir()]


def test_a_package_of_the_code_is_built_from_all_its_files(shop: Shop, store: Store, tmp_path: Path) -> None:
    shop.tree(code_step(write(tmp_path / "code")))
    assert f"{sorted(FILES)}\n" == shop.install(store).run("python3", "-c", SEEN)


def test_an_editable_build_sees_what_counts_and_its_libraries_lie_beside_the_code(
    shop: Shop, store: Store, tmp_path: Path
) -> None:
    shop.tree(code_step(write(tmp_path / "code"), read=READ, target="/workspace"))
    installed = shop.install(store)
    assert f"{sorted([*READ, 'src/pkg/_fast.so'])}\n" == installed.run("python3", "-c", SEEN)
    assert "int x;\n" == installed.run("python3", "-c", "print(open('/workspace/src/pkg/_fast.so').read(), end='')")
    (layer,) = installed.wheels.values()
    assert not (store.layer_dir(layer) / "workspace/src/pkg/__init__.py").exists()


def test_an_edit_of_a_module_leaves_the_key_and_an_edit_of_what_is_compiled_does_not(tmp_path: Path) -> None:
    def key(**changed: str) -> str:
        return step_key(code_step(write(tmp_path / "code", **changed), read=READ, target="/workspace"), None)

    before = key()
    assert before == key(**{"src/pkg/__init__.py": "x = 2\n"})
    assert before == key(**{"src/pkg/data.json": "{}"})
    assert before != key(**{"src/pkg/_fast.c": "int y;\n"})
    assert before != key(**{"src/pkg/new.py": ""})


def test_code_that_changes_while_it_is_copied_is_noticed(shop: Shop, store: Store, tmp_path: Path) -> None:
    code = write(tmp_path / "code")
    shop.tree(code_step(code))
    write(code, **{"src/pkg/__init__.py": "x = 3\n"})
    with pytest.raises(BuildError, match=r"__init__\.py` changed while the image was built"):
        shop.install(store)


def test_two_empty_stores_get_equal_layers_of_trees(shop: Shop, tmp_path: Path) -> None:
    shop.tree(code_step(write(tmp_path / "code"), read=READ, target="/workspace"))
    layers = [shop.install(Store(tmp_path / name).ensure()).wheels.values() for name in ("first", "second")]
    assert 1 == len({layer.diff_id for found in layers for layer in found})

"""Wheels become layers: fetched by the real uv from a directory, compiled in a real container, and used in one.

The base is this machine's interpreter with the libraries that it needs, so nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wheel_shop import Shop

from runtime.build.plan import VENV
from runtime.build.wheels.apply_install_wheel import shared_paths
from runtime.errors import BuildError
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    tmp_path.chmod(0o755)
    return Shop(tmp_path / "shop")


def fill(shop: Shop) -> None:
    """Two halves of a namespace package, a console script, data, and set constants that two files share."""
    sets = "def f(x):\n    return x in {'zq_one', 'zq_two'}\n\ndef g(x):\n    return 'more', x in {'zq_one', 'zq_two'}\n"
    scripts = "[console_scripts]\ngreet = space.one:main\n"
    main = "def main():\n    print('hello from', __name__)\n"
    shop.wheel("one", {"space/one.py": main, "space/sets.py": sets, "one-1.0.dist-info/entry_points.txt": scripts})
    shop.wheel("two", {"space/two/__init__.py": "NAMES = ('zq_one', 'zq_two')\n", "two-1.0.data/data/share/two.txt": "data\n"})


def test_wheels_work_together_in_a_container(shop: Shop, store: Store) -> None:
    fill(shop)
    installed = shop.install(store)
    assert "hello from space.one\n" == installed.run("greet")
    code = (
        "import sys, importlib.metadata as m, space.one, space.two, pathlib\n"
        "print(sys.prefix, pathlib.Path(sys.prefix, 'share/two.txt').read_text().strip())\n"
        "print(all(f.locate().exists() for d in ('one', 'two') for f in m.files(d)))\n"
        "print(m.distribution('one').read_text('INSTALLER'))"
    )
    assert f"{VENV} data\nTrue\nlaunch\n\n" == installed.run("python3", "-c", code)


def test_python_compiles_nothing_when_it_imports(shop: Shop, store: Store) -> None:
    fill(shop)
    said = shop.install(store).run("python3", "-v", "-c", "import space.one, space.two, space.sets")
    ours = [line for line in said.splitlines() if "code object from" in line and "/opt/venv/" in line]
    assert 3 == len(ours)
    assert [] == [line for line in ours if ".pyc'" not in line]


def test_two_empty_stores_get_equal_layers(shop: Shop, tmp_path: Path) -> None:
    fill(shop)
    first = shop.install(Store(tmp_path / "first").ensure())
    before = os.umask(0o077)
    shop.steps.reverse()
    try:
        second = shop.install(Store(tmp_path / "second").ensure())
    finally:
        os.umask(before)
    assert {step: layer.diff_id for step, layer in first.wheels.items()} == {
        step: layer.diff_id for step, layer in second.wheels.items()
    }


def test_of_two_wheels_with_one_file_the_later_wins_and_is_named(shop: Shop, store: Store) -> None:
    shop.wheel("first", {"same.py": "x = 'first'\n", "equal.py": ""})
    shop.wheel("second", {"same.py": "x = 'second'\n", "equal.py": ""})
    installed = shop.install(store)
    assert "second\n" == installed.run("python3", "-c", "import same; print(same.x)")
    assert ["`second` replaces 1 file of `first`: same.py"] == shared_paths(list(installed.wheels.items()), store)


BACKEND = """
import base64, hashlib, os, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    seen = "canary" if os.path.exists({canary!r}) else "nothing"
    files = {{
        "src_demo.py": f"seen = {{seen!r}}\\n",
        "src-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: src\\nVersion: 1.0\\n",
        "src-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    def row(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        return f"{{path}},sha256={{digest}},{{len(text)}}\\n"
    record = "".join(row(path, text) for path, text in files.items()) + "src-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(wheel_directory, "src-1.0-py3-none-any.whl"), "w") as archive:
        for path, text in {{**files, "src-1.0.dist-info/RECORD": record}}.items():
            archive.writestr(path, text)
    return "src-1.0-py3-none-any.whl"
"""


def test_a_source_distribution_is_built_without_sight_of_this_machine(shop: Shop, store: Store, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    shop.sdist("src", BACKEND.format(canary=str(canary)))
    assert "nothing\n" == shop.install(store).run("python3", "-c", "import src_demo; print(src_demo.seen)")


def test_a_build_that_fails_says_why_and_leaves_nothing(shop: Shop, store: Store) -> None:
    shop.sdist("src", "def build_wheel(*args, **more):\n    raise SystemExit('no compiler for you')\n")
    with pytest.raises(
        BuildError, match=r"no wheel of src 1\.0 for Python [\s\S]*`src-1\.0\.tar\.gz` doesn.t build[\s\S]*no compiler for you"
    ):
        shop.install(store)
    assert [] == [path for path in (store.root / "tmp").iterdir() if path.is_dir()]

"""Bytecode is a function of the source alone: not of order, company, process or hash seed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.build.plan import LAYER_MTIME_S
from runtime.build.wheels import compile_worker

# The two functions share a set constant or don't, depending on which strings other files have interned (CPython,
# intern_constants): this is what made scikit-learn's bytecode differ from build to build.
SETS = (
    "def f(x):\n    return x in {'zq_alpha', 'zq_beta', 'zq_gamma'}\n\n"
    "def g(x):\n    return 'more', x in {'zq_alpha', 'zq_beta', 'zq_gamma'}\n"
)
INTERNS = "zq_alpha = zq_beta = zq_gamma = 1\nNAMES = ('zq_alpha', 'zq_beta', 'zq_gamma')\n"


def compile_all(directory: Path, names: list[str], *, workers: int = 1, seed: str = "0") -> dict[str, bytes]:
    files = [[str(directory / name), f"/shown/{name}"] for name in names]
    jobs = directory / "jobs.json"
    jobs.write_text(json.dumps({"mtime": LAYER_MTIME_S, "files": files}))
    argv = [sys.executable, "-s", "-S", "-B", str(compile_worker.__file__), str(jobs), str(workers)]
    subprocess.run(argv, check=True, env={"PYTHONHASHSEED": seed}, timeout=60)
    made = {path.name: path.read_bytes() for path in (directory / "__pycache__").iterdir()}
    for path in (directory / "__pycache__").iterdir():
        path.unlink()
    return made


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    texts = {"a.py": SETS, "b.py": INTERNS, "c.py": "import os\nX = 'a' * 30\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return list(texts)


def test_order_and_number_of_processes_do_not_show(tmp_path: Path, sources: list[str]) -> None:
    expected = compile_all(tmp_path, sources)
    assert 3 == len(expected)
    assert expected == compile_all(tmp_path, sources[::-1])
    assert expected == compile_all(tmp_path, [*sources[1:], sources[0]], workers=3)


def test_strings_that_another_file_interned_do_not_show(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SETS)
    alone = compile_worker.pyc_of(str(tmp_path / "a.py"), "/shown/a.py", LAYER_MTIME_S)
    interned = [sys.intern("".join(letters)) for letters in (["zq_", "alpha"], ["zq_", "beta"], ["zq_", "gamma"])]
    assert alone == compile_worker.pyc_of(str(tmp_path / "a.py"), "/shown/a.py", LAYER_MTIME_S)
    assert 3 == len(interned)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(SETS, True, id="equal sets in two functions"),
        pytest.param("def f(x):\n    return x in {1, 2}\n\nclass C:\n    y = 0 in {2, 1}\n", True, id="one in a class"),
        pytest.param("def f(x):\n    return x in {'a', 'b'} or x in {'c', 'd'}\n", False, id="two sets"),
        pytest.param("def f(x):\n    return x in {'a', 'b'} and x not in {'a', 'b'}\n", False, id="one set twice in a function"),
        pytest.param("x = ('a', 'b')\n", False, id="no set"),
    ],
)
def test_only_files_whose_functions_may_share_a_set_are_compiled_twice(source: str, expected: bool) -> None:
    """The second time costs as much as the first, and one file of ten has sets."""
    assert expected == compile_worker.may_share_a_set(compile(source, "a.py", "exec"))


def test_a_file_that_does_not_compile_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("print 1\n")
    (tmp_path / "good.py").write_text("x = 1\n")
    assert ["good"] == [name.split(".")[0] for name in compile_all(tmp_path, ["bad.py", "good.py"])]


def test_python_takes_the_bytecode_and_sees_a_later_edit(tmp_path: Path) -> None:
    """A timestamp pyc over a fixed mtime: valid while the source has that mtime, ignored after `sed -i`."""
    source = tmp_path / "demo_fixed_mtime.py"
    source.write_text("x = 'built'\n")
    os.utime(source, (LAYER_MTIME_S, LAYER_MTIME_S))
    compile_worker.compile_one(str(source), "/opt/venv/demo.py", LAYER_MTIME_S)
    ask = [
        sys.executable,
        "-v",
        "-B",
        "-c",
        "import demo_fixed_mtime as d; print(d.x, d.__spec__.loader.get_code(d.__name__).co_filename)",
    ]
    env = {"PYTHONPATH": str(tmp_path)}
    first = subprocess.run(ask, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert importlib.util.cache_from_source(str(source)) + " matches " + str(source) in first.stderr
    source.write_text("x = 'edited later'\n")
    assert subprocess.run(ask, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.startswith("edited later")

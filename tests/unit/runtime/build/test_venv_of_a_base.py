"""A virtual environment on a base that has packages of its own: they are found after the wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.build.cache_key import step_key
from runtime.build.plan import InstallWheel, MakeVenv
from runtime.build.wheels.apply_make_venv import make_venv_tree
from runtime.build.wheels.bytecode import interpreter_env
from runtime.light_dataclasses import replace

STEP = MakeVenv(interpreter="cpython-3.11.9-abc", executable="/opt/conda/bin/python3.11", version="3.11.9")
SITE_PACKAGES = "opt/venv/lib/python3.11/site-packages"


def settings(root: Path) -> dict[str, str]:
    text = (root / "opt/venv/pyvenv.cfg").read_text()
    return dict(line.split(" = ", 1) for line in text.splitlines())


def test_our_own_bases_have_nothing_beside_the_wheels(tmp_path: Path) -> None:
    make_venv_tree(STEP, tmp_path)
    assert "false" == settings(tmp_path)["include-system-site-packages"]
    assert [] == list((tmp_path / SITE_PACKAGES).iterdir())


def test_condas_packages_are_those_of_its_interpreter(tmp_path: Path) -> None:
    make_venv_tree(replace(STEP, system_site_packages=True), tmp_path)
    assert {"home": "/opt/conda/bin", "include-system-site-packages": "true"}.items() <= settings(tmp_path).items()
    assert "/opt/conda/bin/python3.11" == str((tmp_path / "opt/venv/bin/python").readlink())


def test_packages_of_a_virtual_environment_are_added(tmp_path: Path) -> None:
    step = replace(STEP, system_site_packages=True, site_directories=("/srv/env/lib/python3.11/site-packages",))
    make_venv_tree(step, tmp_path)
    (file,) = (tmp_path / SITE_PACKAGES).glob("*.pth")
    assert "import site; site.addsitedir('/srv/env/lib/python3.11/site-packages')\n" == file.read_text()
    assert step_key(step, None) != step_key(replace(step, site_directories=()), None)


def test_it_can_lie_beside_the_usual_place(tmp_path: Path) -> None:
    step = replace(STEP, prefix="/opt/venv2", base_env=(("LD_LIBRARY_PATH", "/opt/conda/lib"),))
    make_venv_tree(step, tmp_path)
    assert ["venv2"] == [path.name for path in (tmp_path / "opt").iterdir()]
    assert step_key(step, None) != step_key(STEP, None)
    assert step_key(step, None) == step_key(replace(step, base_env=()), None)


def test_an_interpreter_gets_the_bases_environment_but_nobodys_settings_of_python() -> None:
    env = (("LD_LIBRARY_PATH", "/opt/conda/lib"), ("PIP_CONSTRAINT", "/x"), ("PYTHONOPTIMIZE", "2"), ("UV_SYSTEM_PYTHON", "1"))
    assert {"LD_LIBRARY_PATH": "/opt/conda/lib"} == interpreter_env(replace(STEP, base_env=env))


@pytest.mark.parametrize(("field", "value"), [("prefix", "/opt/venv2"), ("built_on", "sha256:abc")])
def test_a_wheels_layer_is_of_one_place_and_a_build_of_one_base(field: str, value: str) -> None:
    wheel = InstallWheel("a", "1", "0" * 64, "a-1.tar.gz", "cpython-3.13.5-abc", "3.13")
    assert step_key(wheel, None) != step_key(replace(wheel, **{field: value}), None)

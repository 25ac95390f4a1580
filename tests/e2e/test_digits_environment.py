"""The Python environment that `digits` gets from the package index: complete, compiled, with its scripts, and a place for
figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

IMPORTS = "import sklearn.neural_network, matplotlib.pyplot, scipy.stats, PIL.Image, mpl_toolkits.mplot3d, dateutil.tz"


@pytest.fixture
def shipped(session_home: Path, tmp_path: Path) -> Launch:
    return Launch(session_home, tmp_path)


def test_importing_the_big_packages_compiles_nothing(shipped: Launch) -> None:
    """`python -v` says for each module whether its code is from a .pyc or from source."""
    done = shipped("experiment=digits", "--", "python3", "-v", "-c", IMPORTS, timeout_s=600)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("# code object from '/opt/venv/")]
    assert len(said) > 500
    assert [] == [line for line in said if not line.endswith(".pyc'")]


def test_console_scripts_run_under_the_virtual_environment(shipped: Launch) -> None:
    done = shipped("experiment=digits", "--", "sh", "-c", "fonttools --help && command -v f2py", timeout_s=600)
    assert "/opt/venv/bin/f2py" in done.stdout.splitlines()


def test_every_installed_file_is_where_record_says(shipped: Launch) -> None:
    code = (
        "import importlib.metadata as m\n"
        "missing = [(d.name, str(f)) for d in m.distributions() for f in d.files or () if not f.locate().exists()]\n"
        "print(len(list(m.distributions())) > 10, missing)"
    )
    assert "True []\n" == shipped("experiment=digits", "--", "python3", "-c", code, timeout_s=600).stdout


def test_figures_that_are_shown_without_a_display_are_among_the_outputs(shipped: Launch) -> None:
    code = "import matplotlib.pyplot as p; [(p.plot([1, n]), p.show()) for n in (2, 3)]; print(p.get_fignums())"
    assert "[]\n" == shipped("experiment=digits", "--", "python3", "-c", code, timeout_s=600).stdout
    figures = sorted(Path(shipped("outputs", "@last").stdout.strip()).glob("figures/*"))
    assert ["1.png", "2.png"] == [figure.name for figure in figures]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)

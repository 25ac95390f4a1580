"""`launch verify`: an image is made again from its recipe; what is not to be had any more is named with what brings it back."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from launch_command import Launch

from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns", "uv")]

EXPERIMENT = """\
# @package _global_
image: {{base: "oci:{base}", requirements: [demo], index: {{find_links: ["{links}"]}}}}
code: {{root: code}}
command: [python3, train.py]
tracking: null
"""


def wheel(directory: Path) -> Path:
    files = {
        "demo.py": b"VALUE = 1\n",
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {name: urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode() for name, content in files.items()}
    record = "".join(f"{name},sha256={digests[name]},{len(content)}\n" for name, content in files.items())
    files["demo-1.0.dist-info/RECORD"] = f"{record}demo-1.0.dist-info/RECORD,,\n".encode()
    directory.mkdir(parents=True)
    path = directory / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.fixture(scope="module")
def base(session_home: Path, probe_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with Python, in files: quick to import."""
    Launch(session_home, probe_project)("build", "experiment=probe", "-q")
    store = Store(session_home / "store")
    directory = tmp_path_factory.mktemp("base") / "layout"
    export_oci_layout(store.image("probe"), store, directory)
    return directory


@pytest.fixture
def project(tmp_path: Path, base: Path) -> Launch:
    project = tmp_path / "project"
    (project / "conf/experiment").mkdir(parents=True)
    (project / "code").mkdir()
    (project / "code/train.py").write_text("import demo; print(demo.VALUE)\n")
    wheel(tmp_path / "links")
    text = EXPERIMENT.format(base=base, links=tmp_path / "links")
    (project / "conf/experiment/demo.yaml").write_text(text)
    environ = {"UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_OFFLINE": "1"}
    return Launch(tmp_path / "home", project, environ)


@pytest.mark.requires("patience")
def test_an_image_is_verified_when_its_code_went_on_and_its_wheel_moved(project: Launch, tmp_path: Path) -> None:
    digest = json.loads(project("build", "experiment=demo", "--json").stdout)["image_digest"]
    (project.project / "code/train.py").write_text("print('later')\n")
    done = project("verify", "demo")
    assert f"identical  {digest}" in done.stdout
    assert "`train.py` in" in done.stderr

    (tmp_path / "attic").mkdir()
    (tmp_path / "links/demo-1.0-py3-none-any.whl").rename(tmp_path / "attic/demo-1.0-py3-none-any.whl")
    failed = project("verify", "demo", "-q", check=125)
    assert "`demo-1.0-py3-none-any.whl`" in failed.stderr
    assert "image.index.url=ADDRESS" in failed.stderr
    again = json.loads(project("verify", "demo", f"image.index.find_links=[{tmp_path / 'attic'}]", "--json").stdout)
    assert (True, digest) == (again["identical"], again["rebuilt_digest"])
    assert [".gate"] == os.listdir(project.home / "store/tmp")


def test_what_may_not_change_is_refused(launch: Launch) -> None:
    launch("build", "experiment=probe", "-q")
    assert "is made from its recipe" in launch("verify", "probe", "image.base=other", check=2).stderr
    assert "no image `nobody`" in launch("verify", "nobody", check=2).stderr

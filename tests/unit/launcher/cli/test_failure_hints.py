"""What the last words of a failed program lead to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.runs.failure_hints import hints_for, image_hint
from launcher.journal.status import RunStatus
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir

NO_FILE = "cannot open shared object file: No such file or directory"
RESOLVER = "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>\n"
HUGGING_FACE = "OSError: We couldn't connect to 'https://huggingface.co' to load the files\n"
MISSING = "FileNotFoundError: [Errno 2] No such file or directory: 'data/input.txt'\n"


@pytest.fixture
def failed(run_dir: RunDir, tmp_path: Path):
    def failed(stderr: str, *, reason: str = "program", **spec: Any) -> list[str]:
        (tmp_path / "code/data").mkdir(parents=True)
        (tmp_path / "code/data/input.txt").write_text("x")
        plan = {
            "spec": {"network": "none", "caches": {}, "secrets": [], **spec},
            "code": {"root": str(tmp_path / "code"), "files": [["train.py", 0o644, "0"]]},
            "build": {"config": {"workdir": "/workspace"}},
        }
        run_dir.plan.write_text(json.dumps({"plan": plan}))
        run_dir.stderr.write_text(stderr)
        return hints_for(RunRecord(run_dir, run_dir.run_id, RunStatus.FAILED, datetime.now(UTC), reason=reason))

    return failed


def test_a_missed_network_is_said(failed) -> None:
    assert ["`network=bridge` gives it one" in hint for hint in failed(RESOLVER)] == [True]


def test_of_a_service_cache_and_secret_are_said_too(failed) -> None:
    network, cache, secret = failed(HUGGING_FACE)
    assert "`caches: {huggingface: /home/user/.cache/huggingface}`" in cache
    assert secret == "`secrets: [HF_TOKEN]` is what Hugging Face wants for gated and private models"
    assert "has no network" in network


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"network": "host"}, id="a run with a network"),
        pytest.param({"reason": "timeout"}, id="a run that did not fail by itself"),
    ],
)
def test_other_failures_lead_to_nothing(failed, changes: dict[str, Any]) -> None:
    assert failed(RESOLVER, **changes) == []


@pytest.mark.parametrize("named", ["data/input.txt", "/workspace/data/input.txt", "./data/input.txt"])
def test_a_file_that_was_left_out_is_named_with_the_way_in(failed, named: str) -> None:
    (hint,) = failed(MISSING.replace("data/input.txt", named))
    assert "`data/input.txt` is in `" in hint
    assert '`code: {include: ["**", "data/input.txt"]}`' in hint


@pytest.mark.parametrize("named", ["data/other.txt", "train.py", "../../etc/passwd", "/etc/passwd"])
def test_a_file_that_is_nowhere_or_in_the_image_leads_to_nothing(failed, named: str) -> None:
    assert failed(MISSING.replace("data/input.txt", named)) == []


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ModuleNotFoundError: No module named 'numpy'", "`numpy` goes into `image.requirements`; `--with numpy` tries it"),
        ("ModuleNotFoundError: No module named 'cv2'", "`opencv-python-headless` goes into `image.requirements`"),
        ("ModuleNotFoundError: No module named 'sklearn.svm'", "`scikit-learn` goes into `image.requirements`"),
        (f"ImportError: libxcb.so.1: {NO_FILE}", "no `libxcb.so.1`: `image.apt: [libxcb1]`"),
        (f"ImportError: libGL.so.1: {NO_FILE}", "`image.apt: [libgl1]`"),
        (f"OSError: libglib-2.0.so.0: {NO_FILE}", "`image.apt: [libglib2.0-0]`"),
        (f"OSError: libcuda.so.1: {NO_FILE}", "`gpus=1`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'", "`image.apt: [ffmpeg]`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'gcc'", "`image.apt: [build-essential]`"),
        (f"ImportError: libGL.so.1: {NO_FILE}\n...\nModuleNotFoundError: No module named 'yaml'", "`pyyaml`"),
    ],
)
def test_what_an_image_lacks_is_named_with_the_key_that_adds_it(said: str, advice: str, tmp_path: Path) -> None:
    tail = f"Traceback (most recent call last):\n  File ...\n{said}\n"
    assert advice in (image_hint(tail, code_root=str(tmp_path)) or "")


def test_a_module_of_the_code_is_not_looked_for_in_an_index(tmp_path: Path) -> None:
    (tmp_path / "src/mine").mkdir(parents=True)
    said = "ModuleNotFoundError: No module named 'mine.model'"
    assert "`image.requirements: [-e .]`" in (image_hint(said, code_root=str(tmp_path)) or "")


@pytest.mark.parametrize("said", ["", "ValueError: x", "print('No module named x')", "FileNotFoundError: 'data.csv'"])
def test_other_failures_get_no_advice(said: str, tmp_path: Path) -> None:
    assert image_hint(said, code_root=str(tmp_path)) is None

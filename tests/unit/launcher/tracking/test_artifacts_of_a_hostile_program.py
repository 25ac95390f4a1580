"""What a program leaves may have any name and depth; regular files are sent to MLflow, and nothing keeps them from it."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.tracking.mlflow.artifacts import spooled
from launcher.tracking.record.record_files import output_digests
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir


def test_no_link_pipe_or_depth_is_sent_or_keeps_others_from_being_sent(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    top = run_dir.artifacts
    (top / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("the host's")
    (top / "link").symlink_to(tmp_path / "secret")
    (top / "directory").symlink_to(tmp_path)
    os.mkfifo(top / "pipe")
    (top / "a/file").touch()
    Path(os.fsdecode(os.fsencode(top) + b"/odd\xff\n")).touch()
    before = Path.cwd()
    os.chdir(top)
    try:
        for _ in range(2500):
            os.mkdir("d")
            os.chdir("d")
        Path("deep").touch()
    finally:
        os.chdir(before)
    assert ["odd\udcff\n", "a/file"] == [upload.path for upload in spooled(run_dir, sent={})]
    assert {"odd\udcff\n", "a/file"} == output_digests(top).keys()
    remove_tree(top)
    assert not top.exists()

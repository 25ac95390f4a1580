"""What people call a step, and what an image's history calls it."""

from __future__ import annotations

from runtime.build.plan import CopyIn, DebPackage, UnpackDebs
from runtime.build.step_label import history_label, step_label
from runtime.oci.digest import digest_bytes

DEBS = tuple(DebPackage(name, "1", "amd64", "main", f"pool/{name}.deb", 5, name[0] * 64) for name in ("apt", "bash", "cron"))


def test_words_for_people_may_change_and_those_of_an_images_history_may_not() -> None:
    one_file = CopyIn("/src", (("train.py", 0o644, "a" * 64),), "/workspace", digest_bytes(b"x"))
    one_deb = UnpackDebs("trixie", DEBS[:1], onto_base=True)
    assert ["code in /workspace (1 file)", "debian trixie: 1 more package"] == [step_label(step) for step in (one_file, one_deb)]
    assert ["code in /workspace (1 files)", "debian trixie: 1 more packages"] == [
        history_label(step) for step in (one_file, one_deb)
    ]
    assert "debian trixie: 3 packages" == step_label(UnpackDebs("trixie", DEBS)) == history_label(UnpackDebs("trixie", DEBS))

"""Which files a requirement set was read from, and what of them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.plan.requirements.requirement_lines import RequirementRequest, logical_lines, read_requirements


def test_included_files_are_followed_and_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.txt").write_text("-r sub/more.txt\n-c limits.txt\nnumpy\n")
    (tmp_path / "sub/more.txt").write_text("tqdm\n-r ../base.txt\n")
    (tmp_path / "limits.txt").write_text("numpy<3\n")
    found = read_requirements(RequirementRequest(["-r base.txt", "humanize"], tmp_path))
    assert (f"-r {tmp_path / 'base.txt'}", "humanize") == found.lines
    assert {tmp_path / "base.txt", tmp_path / "sub/more.txt", tmp_path / "limits.txt"} == {path.resolve() for path in found.files}


def test_the_digest_sees_what_an_included_file_says_and_not_where_it_lies(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "r.txt").write_text(text)
        return read_requirements(RequirementRequest("r.txt", tmp_path / name)).digest

    assert digest("a", "numpy>=2  # why\n\n# more\n") == digest("b", "numpy>=2\n")
    assert digest("a", "numpy>=2\n") != digest("b", "numpy>=3\n")


def test_index_options_are_collected_from_every_file(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("--extra-index-url https://x.test/simple\n-f wheels\n--no-index\ntorch\n")
    found = read_requirements(RequirementRequest("r.txt", tmp_path))
    wanted = (("extra-index-url", "https://x.test/simple"), ("find-links", str(tmp_path / "wheels")), ("no-index", ""))
    assert wanted == found.index_options


def test_comments_end_at_a_hash_after_a_blank_and_lines_continue() -> None:
    text = "a==1 \\\n    --hash=sha256:00\n# c\nb @ https://x.test/b.whl#sha256=11\nc  # why\n"
    assert ["a==1      --hash=sha256:00", "b @ https://x.test/b.whl#sha256=11", "c"] == list(logical_lines(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.txt` does not exist"):
        read_requirements(RequirementRequest("nope.txt", tmp_path))


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "pylock.toml"])
def test_a_project_file_is_handed_on_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x = 1\n")
    found = read_requirements(RequirementRequest(name, tmp_path, extra=["humanize"]))
    assert found.project is not None
    assert (tmp_path / name, ("humanize",)) == (found.project.path, found.lines)

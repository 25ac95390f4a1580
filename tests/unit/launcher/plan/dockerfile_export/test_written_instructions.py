"""Instructions that are written: a shell and our own parser of Dockerfiles get back exactly what was to be said."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.expand import expand
from launcher.plan.dockerfile.parse import parse
from launcher.plan.dockerfile_export.instruction_text import (
    Unwritable,
    bare,
    config_text,
    env_text,
    instruction,
    mount_flags,
    removal,
    removal_globs,
    run_text,
    value,
    words,
)
from runtime.build.plan import ImageConfig, RunCommand, RunMount

AWKWARD = "ab $\\\"'{}<>|&;*?#`!~ =:[]\tß"


def read(text: str) -> list[Instruction]:
    return list(parse(f"FROM a\n{text}", path="Dockerfile").stages[0].instructions)


def run_in_shell(text: str, directory: Path, **env: str) -> str:
    """What the command of the RUN *text* prints."""
    (run,) = read(text)
    assert ("shell", ()) == (run.form, run.heredocs)
    done = subprocess.run(
        ["/bin/sh", "-c", run.words[0]],
        env={"PATH": os.environ["PATH"], **env},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


def written(step: RunCommand, *, wanted: dict[str, str] | None = None, after: list[list[str]] | None = None) -> str:
    return run_text(step, wanted=wanted or {}, env={}, cwd=step.cwd, mounts=[], after=after or [])


def awkward(length: int = 10) -> str:
    return "".join(random.choices(AWKWARD, k=length))


def test_values_come_back_as_they_were() -> None:
    for _ in range(300):
        text = awkward()
        ((_, got),) = read(f"ENV name={value(text)}")[0].pairs()
        assert text == expand(got, {"a": "wrong", "b": "wrong"})


def test_arguments_come_back_as_they_were() -> None:
    for _ in range(300):
        text = f"/{awkward()}/x"
        assert text == expand(read(f"WORKDIR {bare(text)}")[0].words[0], {})
        assert [text, "/to/"] == [expand(word, {}) for word in read(f"COPY {words([text, '/to/'])}")[0].words]


@pytest.mark.parametrize("text", ["two\nlines", "a\r", "nul\0"])
def test_what_has_a_line_end_is_not_written_half(text: str) -> None:
    for quote in (value, bare, lambda one: words([one, "b"])):
        with pytest.raises(Unwritable):
            quote(text)


def test_a_command_gets_its_words_and_its_environment(tmp_path: Path) -> None:
    for _ in range(30):
        word, text = awkward(), awkward()
        step = RunCommand(("/bin/sh", "-c", 'printf "%s|" "$NAME" "$@"', "sh", word, ""))
        assert f"{text}|{word}||" == run_in_shell(written(step, wanted={"NAME": text}), tmp_path)


def test_only_what_the_builder_does_not_give_is_written() -> None:
    step = RunCommand(("true",))
    text = run_text(step, wanted={"A": "1", "B": "2"}, env={"A": "1", "B": "1"}, cwd="/", mounts=[], after=[])
    assert "RUN --network=none \\\n    B=2 \\\n    true" == text


def test_a_name_that_no_shell_assigns_to_goes_through_env(tmp_path: Path) -> None:
    printed = run_in_shell(written(RunCommand(("env",)), wanted={"a.b": "it's"}), tmp_path)
    assert "a.b=it's" in printed.splitlines()


SCRIPT = """
cd .
cat <<EOF
it's "$HOME" \\
# no comment
EOF

printf '%s\\n' "done" \\
    'twice'
"""


def test_a_script_of_several_lines_is_one_instruction(tmp_path: Path) -> None:
    step = RunCommand(("/bin/sh", "-ec", SCRIPT))
    assert 'it\'s "/me" # no comment\ndone\ntwice\n' == run_in_shell(written(step), tmp_path, HOME="/me")


@pytest.mark.parametrize("text", ["one\n", "one\ntwo", "one\n\n", "it's\n$HOME\n"])
def test_a_command_reads_what_it_is_given(text: str, tmp_path: Path) -> None:
    step = RunCommand(("cat", "-"), stdin=text, cwd=str(tmp_path))
    assert text == run_in_shell(written(step, wanted={"A": "b"}, after=[["true"]]), tmp_path)


def test_what_commands_leave_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("log/new", "log/.hidden", "log/kept/x", "keep/y", "old-"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    at = str(tmp_path).lstrip("/")
    variables = {"LEFT_OUT": removal_globs((f"{at}/log/**", f"{at}/*-", f"{at}/none/**"))}
    run_in_shell(instruction(removal("LEFT_OUT", [f"{tmp_path}/log/kept"])), tmp_path, **variables)
    assert ["keep", "keep/y", "log", "log/kept"] == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


def test_the_configuration_comes_back() -> None:
    config = ImageConfig(
        workdir="/w",
        entrypoint=("a b", "$c"),
        command=("d",),
        labels={"l": "x y", "empty": ""},
        user="me",
        exposed_ports=("80/tcp", "53/udp"),
        volumes=("/v",),
        stop_signal="SIGINT",
        shell=("/bin/bash", "-c"),
        healthcheck={"Test": ["CMD", "ok"], "Interval": 90_000_000_000, "Timeout": 5_000_000, "Retries": 3},
        onbuild=("RUN x",),
    )
    warnings: list[str] = []
    lines = config_text(config, command=("not this",), user="", cwd="/", onto_image=False, warn=warnings)
    found = {one.keyword: one for one in read("\n".join(lines))}
    assert ("a b", "$c") == found["ENTRYPOINT"].words
    assert ("d",) == found["CMD"].words
    assert {"l": "x y", "empty": ""} == {name: expand(text, {}) for name, text in found["LABEL"].pairs()}
    assert (("/w",), ("me",), ("SIGINT",)) == tuple(found[name].words for name in ("WORKDIR", "USER", "STOPSIGNAL"))
    assert ("80/tcp", "53/udp") == found["EXPOSE"].words
    assert ("/v",) == found["VOLUME"].words
    assert ("CMD", "ok") == found["HEALTHCHECK"].words
    assert (("interval", "90s"), ("timeout", "5ms"), ("retries", "3")) == found["HEALTHCHECK"].flags
    assert ("RUN x",) == found["ONBUILD"].words
    assert ("/bin/bash", "-c") == found["SHELL"].words
    assert [] == warnings


def test_an_image_without_a_command_gets_that_of_the_launch() -> None:
    bare_config = ImageConfig(workdir="/")
    assert ['CMD ["train"]'] == list(config_text(bare_config, command=["train"], user="", cwd="/", onto_image=False, warn=[]))


def test_what_the_base_image_says_is_taken_back() -> None:
    lines = config_text(ImageConfig(workdir="/"), command=(), user="web", cwd="/srv", onto_image=True, warn=[])
    assert ["WORKDIR /", "USER 0", "ENTRYPOINT []", "CMD []"] == list(lines)


def test_what_cannot_be_written_is_said() -> None:
    warnings: list[str] = []
    assert ["ENV a=1"] == list(env_text({"a": "1", "b": "two\nlines"}, warnings))
    assert ["ENV `b` is not written: its value has several lines"] == warnings


@pytest.mark.parametrize(
    ("mount", "flag"),
    [
        (RunMount("cache", "/c", cache_id="pip", readonly=False), "type=cache,target=/c,id=pip,sharing=shared"),
        (RunMount("secret", "/s", source="token", mode=0o400, env="T"), "type=secret,target=/s,id=token,env=T"),
        (RunMount("tmpfs", "/t", size_bytes=5), "type=tmpfs,target=/t,size=5"),
        (RunMount("bind", "/b", source="x", stage=2, readonly=False), "type=bind,target=/b,from=stage2,source=x,rw=true"),
    ],
)
def test_mounts_are_flags(mount: RunMount, flag: str) -> None:
    text = mount_flags(mount, None, lambda number: f"stage{number}")  # type: ignore[arg-type]
    assert f"--mount={flag}" == text
    assert (("mount", flag),) == read(f"RUN {text} x")[0].flags

"""From the text of a Dockerfile to the steps of its image. Images are pinned by a table; what BuildKit does is the judge."""

from __future__ import annotations

import os

import pytest

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.dockerfile.parse import parse
from launcher.plan.dockerfile.translate import PinnedImage, translate
from launcher.plan.stat_cache import cache_for
from runtime.build.plan import (
    ContextFiles,
    CopyFiles,
    FetchedFile,
    ImportImage,
    InlineFiles,
    MakeDirectory,
    RunCommand,
    StageFiles,
)
from runtime.oci.digest import digest_bytes

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = {
    "Env": ["PATH=/opt/bin:/usr/bin", "LANG=C"],
    "WorkingDir": "/base",
    "User": "",
    "Entrypoint": ["tini", "--"],
    "Cmd": ["bash"],
    "Labels": {"base": "yes"},
}


def step_of(reference: str) -> ImportImage:
    return ImportImage(reference, digest_bytes(reference.encode()))


@pytest.fixture
def translated(tmp_path):
    """Translates a Dockerfile over the files that are given; images have CONFIG, `onbuild` has triggers."""

    def translated(text, *, files=(), ignore="", config=CONFIG, target=None, args=None, network=None, gpu="auto"):
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        for name in files:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            (context / name).write_text(f"content of {name}")
            (context / name).chmod(0o600)

        def pin(reference: str, origin: Origin) -> PinnedImage:
            if reference == "nowhere":
                raise ConfigError("no such image", origin=origin)
            return PinnedImage((step_of(reference),), config)

        return translate(
            parse(text, path="Dockerfile"),
            context=BuildContext(
                context, ignore=Ignore.parse(ignore), ignore_file=".dockerignore", cache=cache_for("x", cache_dir=tmp_path)
            ),
            pin=pin,
            architecture="amd64",
            target=target,
            args=args,
            network=network,
            gpu=gpu,
        )

    return translated


def refusal(translated, text, **given):
    with pytest.raises(ConfigError) as refused:
        translated(text, **given)
    assert refused.value.origin is None or refused.value.origin.file == "Dockerfile"
    return refused.value


def runs(image):
    return [step for step in image.steps if isinstance(step, RunCommand)]


def copies(image):
    return [step for step in image.steps if isinstance(step, CopyFiles)]


def env_of(step):
    return dict(step.env)


# The example of every course


def test_the_example_that_the_field_teaches_with(translated):
    image = translated(
        """\
FROM nvidia/cuda:12.1-cudnn8-runtime-ubuntu22.04
WORKDIR /workspace
COPY requirements.txt .
RUN apt-get update && apt-get install -y python3-pip && \\
    pip3 install -r requirements.txt
COPY train.py .
ENTRYPOINT ["python3", "train.py"]
""",
        files=["requirements.txt", "train.py"],
    )
    base, workdir, requirements, run, train = image.steps
    assert base == step_of("nvidia/cuda:12.1-cudnn8-runtime-ubuntu22.04")
    assert workdir == MakeDirectory("/workspace", label="[2/5] WORKDIR /workspace")
    assert isinstance(requirements.source, ContextFiles)
    assert (requirements.target, requirements.source.single) == ("/workspace/", True)
    assert run.argv == (
        "/bin/sh",
        "-c",
        "apt-get update && apt-get install -y python3-pip &&     pip3 install -r requirements.txt",
    )
    assert (run.cwd, run.network, run.drop) == ("/workspace", "host", ())
    assert train.label == "[5/5] COPY train.py ."
    assert (image.config.entrypoint, image.config.command) == (("python3", "train.py"), ())
    assert [path for path, _, _ in image.files] == ["requirements.txt", "train.py"]
    assert image.warnings == ()


# ARG and ENV


def test_arguments_before_the_first_from_count_in_from_lines_only(translated):
    image = translated("ARG TAG=3.12\nFROM python:$TAG\nRUN echo $TAG\n")
    assert image.steps[0] == step_of("python:3.12")
    assert "TAG" not in env_of(runs(image)[0])


def test_a_stage_takes_a_global_argument_s_value_by_declaring_it(translated):
    image = translated("ARG TAG=3.12\nFROM python:$TAG\nARG TAG\nRUN echo $TAG\n", args={"TAG": "3.13"})
    assert image.steps[0] == step_of("python:3.13")
    assert env_of(runs(image)[0])["TAG"] == "3.13"


def test_a_stage_s_default_wins_over_the_global_one_and_what_is_given_over_both(translated):
    text = "ARG V=global\nFROM a\nARG V=own\nRUN x\n"
    assert env_of(runs(translated(text))[0])["V"] == "own"
    assert env_of(runs(translated(text, args={"V": "given"}))[0])["V"] == "given"


def test_an_argument_without_a_value_is_unset(translated):
    assert "V" not in env_of(runs(translated("FROM a\nARG V\nRUN x\n"))[0])


def test_an_argument_ends_with_its_stage_and_goes_on_in_a_child(translated):
    text = "FROM a AS one\nARG V=1\nRUN x\nFROM {} AS two\nRUN y\n"
    assert "V" not in env_of(runs(translated(text.format("a")))[-1])
    assert env_of(runs(translated(text.format("one")))[-1])["V"] == "1"


def test_env_overrides_an_argument(translated):
    image = translated("FROM a\nARG V=arg\nENV V=env\nRUN x\n", args={"V": "given"})
    assert env_of(runs(image)[0])["V"] == "env"
    assert image.config.env["V"] == "env"


def test_the_image_s_environment_overrides_arguments_of_a_parent_stage(translated):
    image = translated("FROM a AS one\nENV V=env\nARG V=arg\nFROM one\nRUN x\n")
    assert env_of(runs(image)[0])["V"] == "env"


def test_an_argument_is_no_part_of_the_image(translated):
    assert "V" not in translated("FROM a\nARG V=1\nRUN x\n").config.env


def test_env_uses_what_held_before_the_instruction(translated):
    image = translated("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n")
    assert [image.config.env[name] for name in ("abc", "def", "ghi")] == ["bye", "hello", "bye"]


def test_path_of_the_base_is_extended(translated):
    assert translated("FROM a\nENV PATH=/app/bin:$PATH\n").config.env["PATH"] == "/app/bin:/opt/bin:/usr/bin"


def test_the_platform_s_arguments_are_there_once_declared(translated):
    image = translated("FROM --platform=$BUILDPLATFORM a\nRUN x\nARG TARGETARCH TARGETPLATFORM\nRUN y\n")
    first, second = map(env_of, runs(image))
    assert "TARGETARCH" not in first
    assert (second["TARGETARCH"], second["TARGETPLATFORM"]) == ("amd64", "linux/amd64")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_proxies_that_are_given_need_no_declaration_and_run_sees_both_spellings(translated, name):
    image = translated("FROM a\nRUN x\n", args={name: "http://proxy:3128"})
    seen = env_of(runs(image)[0])
    assert (seen["http_proxy"], seen["HTTP_PROXY"]) == ("http://proxy:3128", "http://proxy:3128")
    assert not {"http_proxy", "HTTP_PROXY"} & image.config.env.keys()
    assert image.warnings == ()


def test_an_argument_that_nobody_declares_is_named_with_a_suggestion(translated):
    (warning,) = translated("FROM a\nARG VERSION=1\nRUN x\n", args={"VERSON": "2"}).warnings
    assert warning == "no ARG of the Dockerfile takes `VERSON`; did you mean `VERSION`?"


def test_a_variable_without_a_value_is_named_with_its_line(translated):
    (warning,) = translated("FROM a\nENV NAME=x\nWORKDIR /$NAM/y\n").warnings
    assert warning == "Dockerfile:3: `$NAM` has no value here and counts as empty; did you mean `$NAME`?"


# Stages


def test_only_the_stages_that_the_target_needs_are_looked_at(translated):
    text = "FROM nowhere AS broken\nCOPY missing /\nFROM a AS one\nRUN x\nFROM b AS two\nCOPY --from=one /x /y\n"
    image = translated(text)
    assert image.steps[0] == step_of("b")
    assert [steps[0] for steps in image.stages] == [step_of("a")]
    assert copies(image)[0].source == StageFiles(0, ("x",))


def test_a_stage_is_found_by_name_whatever_its_capitals_and_by_number(translated):
    text = "FROM a AS Build\nRUN x\nFROM b\nCOPY --from=bUILD /x /1/\nCOPY --from=0 /x /2/\n"
    image = translated(text)
    assert [step.source for step in copies(image)] == [StageFiles(0, ("x",)), StageFiles(0, ("x",))]
    assert len(image.stages) == 1


def test_files_come_from_an_image_that_is_no_stage(translated):
    image = translated("FROM a\nCOPY --from=ghcr.io/astral-sh/uv:0.5 /uv /uvx /bin/\n")
    assert image.stages == ((step_of("ghcr.io/astral-sh/uv:0.5"),),)
    assert copies(image)[0].source == StageFiles(0, ("uv", "uvx"))


def test_a_stage_that_refers_to_another_refers_to_an_earlier_number(translated):
    text = "FROM a AS one\nRUN 1\nFROM b AS two\nCOPY --from=one /x /\nFROM c\nCOPY --from=two /y /\nCOPY --from=one /z /\n"
    image = translated(text)
    assert [steps[0] for steps in image.stages] == [step_of("a"), step_of("b")]
    assert [step.source.stage for step in copies(image)] == [1, 0]


def test_from_another_stage_goes_on_with_its_steps_and_configuration(translated):
    text = 'FROM a AS one\nWORKDIR /x\nUSER app\nCMD ["own"]\nLABEL k=v\nFROM one\nENTRYPOINT ["e"]\n'
    image = translated(text)
    assert image.steps == (step_of("a"), MakeDirectory("/x", label="[one 2/2] WORKDIR /x"))
    config = image.config
    assert (config.workdir, config.user, config.labels) == ("/x", "app", {"base": "yes", "k": "v"})
    assert (config.entrypoint, config.command) == (("e",), ())


@pytest.mark.parametrize("target", ["build", "BUILD", "0"])
def test_the_target_ends_the_build(translated, target):
    assert translated("FROM a AS build\nRUN x\nFROM nowhere\n", target=target).steps[0] == step_of("a")


def test_an_unknown_target_is_refused_with_a_suggestion(translated):
    error = refusal(translated, "FROM a AS builder\nFROM b AS runtime\n", target="runtim")
    assert (error.message, error.hint) == ("the Dockerfile has no stage `runtim`", "did you mean `runtime`?")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        pytest.param("FROM a\nCOPY --from=1 /x /\n", "stage 1 does not stand before this one", 2, id="later number"),
        pytest.param("FROM a\nCOPY --from=0 /x /\n", "stage 0 is this stage itself", 2, id="itself"),
        pytest.param(
            "FROM a AS x\nCOPY --from=later /x /\nFROM b AS later\nRUN y\nFROM x\n",
            "the stage `later` has to stand before the one that copies from it",
            2,
            id="later name",
        ),
        pytest.param("FROM a\nCOPY --from=$X /x /\n", "`--from` cannot hold variables", 2, id="variable"),
        pytest.param("FROM a\nCOPY --from=scratch /x /\n", "`scratch` has no files", 2, id="scratch"),
        pytest.param("FROM a\nCOPY --from=nowhere /x /\n", "no such image", 2, id="unknown image"),
        pytest.param("FROM scratch\nRUN x\n", "RUN in an image without files has nothing to run", 2, id="run on nothing"),
        pytest.param("FROM $NAME\n", "`$NAME` of FROM is empty", 1, id="no base"),
        pytest.param(
            "FROM --platform=linux/arm64 a\n", "`--platform=linux/arm64` is not this machine's, `linux/amd64`", 1, id="arm"
        ),
    ],
)
def test_a_stage_that_cannot_be_is_refused_with_its_line(translated, text, message, line):
    error = refusal(translated, text)
    assert (error.message, error.origin) == (message, Origin("Dockerfile", line))


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/x86_64", "amd64", "$TARGETPLATFORM"])
def test_this_machine_s_platform_is_accepted(translated, platform):
    assert translated(f"FROM --platform={platform} a\n").steps == (step_of("a"),)


def test_the_argument_that_from_lacks_is_named_in_what_to_type(translated):
    error = refusal(translated, "ARG PARENT_IMAGE\nFROM ${PARENT_IMAGE}\n")
    assert error.message == "`${PARENT_IMAGE}` of FROM is empty"
    assert "`image.args.PARENT_IMAGE=…`" in error.hint
    assert translated("ARG PARENT_IMAGE\nFROM $PARENT_IMAGE\n", args={"PARENT_IMAGE": "a"}).steps == (step_of("a"),)


def test_scratch_begins_with_no_files_and_docker_s_path(translated):
    image = translated("FROM a AS build\nRUN make\nFROM scratch\nCOPY --from=build /out /\n")
    assert len(image.steps) == 1
    assert (image.config.env, image.config.workdir) == ({"PATH": PATH}, "/")


def test_onbuild_triggers_of_the_base_come_first_and_are_gone_then(translated):
    config = {"OnBuild": ["COPY . /app/", "RUN make"]}
    image = translated("FROM onbuild\nRUN own\n", config=config, files=["x.py"])
    assert [step.label for step in image.steps[1:]] == ["[2/4] ONBUILD COPY . /app/", "[3/4] ONBUILD RUN make", "[4/4] RUN own"]
    assert image.config.onbuild == ()


def test_onbuild_is_kept_for_images_upon_this_one_and_for_stages(translated):
    image = translated("FROM a AS base\nRUN x\nONBUILD RUN triggered\nFROM base\nRUN own\n")
    assert [step.argv[-1] for step in runs(image)] == ["x", "triggered", "own"]
    assert translated("FROM a\nONBUILD RUN later\n").config.onbuild == ("RUN later",)


# RUN


def test_the_forms_of_run(translated):
    image = translated(
        'FROM a\nRUN echo "$HOME" | cat\nRUN ["echo", "$HOME"]\nSHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN a | b\n'
    )
    assert [step.argv for step in runs(image)] == [
        ("/bin/sh", "-c", 'echo "$HOME" | cat'),
        ("echo", "$HOME"),
        ("/bin/bash", "-o", "pipefail", "-c", "a | b"),
    ]


def test_run_has_user_and_working_directory(translated):
    (step,) = runs(translated("FROM a\nUSER app:staff\nWORKDIR sub\nRUN x\n"))
    assert (step.user, step.cwd) == ("app:staff", "/base/sub")


def test_a_heredoc_is_the_shell_s_script_or_what_its_first_line_names_reads_it(translated):
    text = "FROM a\nRUN <<EOF\nset -e\necho $X\nEOF\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n"
    shell, script = runs(translated(text))
    assert (shell.argv, shell.stdin) == (("/bin/sh", "-c", "set -e\necho $X\n"), "")
    assert script.argv == ("/usr/bin/env", "python3", "/dev/stdin")
    assert script.stdin == "#!/usr/bin/env python3\nprint(1)\n"
    assert script.label == "[3/3] RUN <<EOF (#!/usr/bin/env python3)"


def test_a_heredoc_inside_a_command_is_given_back_to_the_shell(translated):
    (step,) = runs(translated("FROM a\nRUN python3 - <<EOF && echo done\nprint(1)\nEOF\n"))
    assert step.argv[-1] == "python3 - <<EOF && echo done\nprint(1)\nEOF"


def test_the_network_of_run(translated):
    text = "FROM a\nRUN 1\nRUN --network=none 2\nRUN --network=host 3\nRUN --network=default 4\n"
    assert [step.network for step in runs(translated(text))] == ["host", "none", "host", "host"]
    assert [step.network for step in runs(translated(text, network="none"))] == ["none", "none", "host", "none"]


def test_mounts_of_run(translated):
    image = translated(
        """\
FROM a AS wheels
RUN build
FROM b
WORKDIR /w
ARG WHERE=/root/.cache
RUN --mount=type=cache,target=$WHERE/pip,sharing=locked,uid=5,mode=0700 \\
    --mount=from=wheels,source=/dist,target=dist,rw \\
    --mount=target=/src,source=lib \\
    --mount=type=secret,id=token,required \\
    --mount=type=secret,id=key,env=KEY \\
    --mount=type=tmpfs,target=/scratch,size=64m  x
""",
        files=["lib/a.py", "lib/b/c.py", "other"],
    )
    cache, stage, context, secret, variable, tmpfs = runs(image)[0].mounts
    assert (cache.kind, cache.target, cache.cache_id) == ("cache", "/root/.cache/pip", "/root/.cache/pip")
    assert (cache.sharing, cache.uid, cache.mode, cache.readonly) == ("locked", 5, 0o700, False)
    assert (stage.kind, stage.target, stage.source, stage.stage, stage.readonly) == ("bind", "/w/dist", "dist", 0, False)
    assert ([path for path, _, _ in context.files], context.source, context.readonly) == (["lib/a.py", "lib/b/c.py"], "lib", True)
    assert (secret.target, secret.source, secret.required, secret.mode) == ("/run/secrets/token", "token", True, 0o400)
    assert (variable.target, variable.env) == ("", "KEY")
    assert (tmpfs.size_bytes, tmpfs.readonly) == (64 << 20, False)


def test_run_with_a_device_sees_a_gpu_of_the_architecture_that_is_asked_for(translated):
    made = translated("FROM a\nRUN --device=nvidia.com/gpu=all nvcc x.cu\nRUN true\n", gpu="9.0")
    assert ["9.0", ""] == [step.gpu for step in made.steps if isinstance(step, RunCommand)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--mount=type=ssh", "`RUN --mount=type=ssh` is not supported: there is no agent in a build"),
        ("--mount=type=cach,target=/x", "`--mount` has no type `cach`"),
        ("--mount=type=cache", "a mount of type cache needs a `target` other than `/`"),
        ("--mount=type=bind,target=/", "a mount of type bind needs a `target` other than `/`"),
        ("--mount=type=bind,target=/x,size=1m", "a mount of type bind has no `size`"),
        ("--mount=type=secret", "a secret needs an `id`"),
        ("--mount=type=cache,target=/x,targt=/y", "`--mount` has no `targt=/y`"),
        ("--mount=type=cache,target=/x,uid=app", "`uid=app` of `--mount` is not an ID: it has to be a number"),
        ("--mount=type=bind,from=$X,target=/x", "`from` of `--mount` cannot hold variables"),
        ("--mount=type=bind,source=nothing,target=/x", "`nothing` is not in the context `{context}`"),
        ("--security=insecure", "`RUN --security=insecure` is not supported"),
        ("--device=vendor.com/gpu", "`RUN --device=vendor.com/gpu` is not supported"),
    ],
)
def test_what_run_cannot_have_is_refused_with_its_line(translated, tmp_path, flags, message):
    error = refusal(translated, f"FROM a\n\nRUN {flags} x\n")
    assert (error.message, error.origin) == (message.format(context=tmp_path / "context"), Origin("Dockerfile", 3))


# COPY and ADD


def test_copy_takes_files_with_modes_that_don_t_depend_on_the_checkout(translated, tmp_path):
    (tmp_path / "context" / "d" / "empty").mkdir(parents=True)
    (tmp_path / "context" / "d" / "run.sh").touch(mode=0o700)
    (tmp_path / "context" / "d" / "link").symlink_to("run.sh")
    image = translated("FROM a\nCOPY . /app\n", files=["d/x.py"])
    found = {target: mode for _, target, mode, _ in copies(image)[0].source.files}
    assert found == {"d": 0o040755, "d/empty": 0o040755, "d/link": 0o120777, "d/run.sh": 0o755, "d/x.py": 0o644}


@pytest.mark.parametrize(
    ("written", "target", "places"),
    [
        pytest.param("a.txt x.txt", "/base/x.txt", ["a.txt"], id="a file under another name"),
        pytest.param("a.txt .", "/base/", ["a.txt"], id="here"),
        pytest.param("a.txt b.txt /d/", "/d/", ["a.txt", "b.txt"], id="several"),
        pytest.param("lib /d", "/d", ["one.py", "sub", "sub/two.py"], id="a directory's content"),
        pytest.param("*.txt ./", "/base/", ["a.txt", "b.txt"], id="a pattern"),
        pytest.param("lib/*/*.py /d/", "/d/", ["two.py"], id="a pattern over directories"),
        pytest.param("[a] /d/", "/d/", [], id="a pattern that fits nothing"),
        pytest.param("/a.txt ../x", "/x", ["a.txt"], id="from the root, and above the working directory"),
        pytest.param("../../a.txt /d/", "/d/", ["a.txt"], id="out of the context is its root"),
        pytest.param("--parents lib/sub/two.py a.txt /d/", "/d/", ["a.txt", "lib/sub/two.py"], id="parents"),
        pytest.param("--parents lib/./sub/*.py /d/", "/d/", ["sub/two.py"], id="parents from a pivot"),
        pytest.param("--parents **/*.py /d/", "/d/", ["lib/one.py", "lib/sub/two.py"], id="parents at any depth"),
        pytest.param("--exclude=**/*.py --exclude=sub lib /d/", "/d/", [], id="exclude"),
        pytest.param('["a.txt", "/with space/"]', "/with space/", ["a.txt"], id="as an array"),
    ],
)
def test_what_copy_takes_and_where_it_goes(translated, written, target, places):
    files = ["a.txt", "b.txt", "lib/one.py", "lib/sub/two.py"]
    steps = copies(translated(f"FROM a\nRUN x\nCOPY {written}\n", files=files))
    assert [place for step in steps for _, place, _, _ in step.source.files] == places
    assert [step.target for step in steps] == [target] * (1 if places or "exclude" in written else 0)


def test_a_copy_of_nothing_at_all_is_a_warning(translated):
    assert translated("FROM a\nRUN x\nCOPY *.whl /d/\n").warnings == (
        "Dockerfile:3: no file matches `*.whl`, so COPY copies nothing",
    )
    assert translated("FROM a\nCOPY a yarn.lock* /d/\n", files=["a"]).warnings == ()


def test_flags_of_copy(translated):
    (step,) = copies(translated("FROM a\nARG UID=5\nCOPY --chown=$UID:app --chmod=0750 --link x /x\n", files=["x"]))
    assert (step.owner, step.mode, step.link, step.unpack) == ("5:app", 0o750, True, False)


def test_variables_in_sources_and_target(translated):
    (step,) = copies(translated("FROM a\nARG N=x\nCOPY ${N}.py /$N/\n", files=["x.py"]))
    assert ([file[0] for file in step.source.files], step.target) == (["x.py"], "/x/")


def test_files_whose_text_is_in_the_dockerfile(translated):
    image = translated('FROM a\nENV NAME="it\'s"\nCOPY <<one.txt <<-"two.txt" /d/\n$NAME "$NAME"\none.txt\n\t$NAME\ntwo.txt\n')
    (step,) = copies(image)
    assert step.source == InlineFiles((("one.txt", "it's \"it's\"\n"), ("two.txt", "$NAME\n")))


def test_a_link_that_is_a_source_means_what_it_leads_to(translated, tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "current").symlink_to("v1")
    (step,) = copies(translated("FROM a\nCOPY current/ /d/\n", files=["v1/a.py"]))
    assert [file[:2] for file in step.source.files] == [("v1/a.py", "a.py")]


def test_a_link_out_of_the_context_is_refused_as_a_source(translated, tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "out").symlink_to("/etc/passwd")
    error = refusal(translated, "FROM a\nCOPY out /d/\n")
    assert error.message == f"`out` is outside the context `{tmp_path / 'context'}`"


def test_add_unpacks_archives_that_are_sources_and_none_below_directories(translated):
    archive, directory = copies(translated("FROM a\nADD x.tar lib /d/\n", files=["x.tar", "lib/y.tar"]))
    assert (archive.unpack, [file[1] for file in archive.source.files]) == (True, ["x.tar"])
    assert (directory.unpack, [file[1] for file in directory.source.files]) == (False, ["y.tar"])
    (plain,) = copies(translated("FROM a\nADD --unpack=false x.tar /d/\n", files=["x.tar"]))
    assert plain.unpack is False


def test_add_fetches_an_address_with_its_digest(translated):
    digest = "sha256:" + "0" * 64
    (step,) = copies(translated(f"FROM a\nADD --checksum={digest} https://host.lab/a/model.bin?x=1 /models/\n"))
    assert step.source == FetchedFile("https://host.lab/a/model.bin?x=1", digest, "model.bin")
    assert step.mode == 0o600


@pytest.mark.parametrize(
    ("instruction", "needs_directory"),
    [
        ("train.py sub /d", True),
        ("*.py /d", True),
        ("train.py sub /d/", False),
        ("train.py /d", False),
        ("sub train.py /d", False),
    ],
)
def test_several_sources_need_a_directory_that_is_there_or_a_slash(translated, instruction, needs_directory):
    (step,) = copies(translated(f"FROM a\nCOPY {instruction}\n", files=["train.py", "test.py", "sub/x.py"]))
    assert needs_directory == step.needs_directory


@pytest.mark.parametrize(
    ("instruction", "message", "hint"),
    [
        pytest.param(
            "COPY trian.py /", "`trian.py` is not in the context `{context}`", "did you mean `train.py`?", id="typing error"
        ),
        pytest.param("COPY sub/y.py /", "`sub/y.py` is not in the context `{context}`", "did you mean `sub/x.py`?", id="below"),
        pytest.param(
            "COPY secret.key /", "`secret.key` is excluded by `.dockerignore`", "`!secret.key` in it brings it back", id="ignored"
        ),
        pytest.param(
            "COPY --link train.py sub /d",
            "COPY of several sources needs a directory as target",
            "end it with a slash: `/d/`",
            id="several into a file",
        ),
        pytest.param(
            "ADD https://host.lab/x /x",
            "ADD of an address needs `--checksum`: `https://host.lab/x` may change",
            "name its digest: `ADD --checksum=sha256:… https://host.lab/x …`, or fetch it in a RUN",
            id="no checksum",
        ),
        pytest.param(
            "ADD https://host.lab/x.git /x",
            "ADD of a git repository is not supported: `https://host.lab/x.git`",
            "clone it beside the Dockerfile, or in a RUN at a commit that you name",
            id="git",
        ),
        pytest.param(
            "COPY https://host.lab/x /x",
            "COPY takes no addresses: `https://host.lab/x`",
            "`ADD --checksum=sha256:… ADDRESS TARGET` fetches a file",
            id="copy an address",
        ),
        pytest.param(
            "COPY --chmod=u+x train.py /",
            "`--chmod=u+x` of COPY is not supported",
            "an octal number, as `--chmod=755`",
            id="chmod",
        ),
        pytest.param(
            "COPY --from=b --parents x /",
            "`--parents` together with `--from` is not supported",
            "copy to another directory in the stage, and that with `COPY --from` without `--parents`",
            id="parents of a stage",
        ),
        pytest.param("COPY [z-a /d/", "`[z-a` is not a pattern: a character class that does not end", None, id="no pattern"),
    ],
)
def test_what_copy_and_add_refuse_with_their_line(translated, tmp_path, instruction, message, hint):
    error = refusal(
        translated,
        f"FROM a\n# a comment\n{instruction}\n",
        files=["train.py", "test.py", "sub/x.py", "secret.key"],
        ignore="*.key\n",
    )
    assert error.message == message.format(context=tmp_path / "context")
    assert (error.hint, error.origin) == (hint, Origin("Dockerfile", 3))


def test_what_the_ignore_file_leaves_out_is_not_copied_unless_it_is_brought_back(translated):
    files = ["a.py", "a.log", "build/x", "build/keep/y"]
    image = translated("FROM a\nCOPY . /d/\n", files=files, ignore="*.log\nbuild\n!build/keep\n")
    assert [file[1] for file in copies(image)[0].source.files] == ["a.py", "build", "build/keep", "build/keep/y"]


def test_a_pipe_in_the_context_is_copied_and_a_socket_left_out(translated, tmp_path):
    import socket

    (tmp_path / "context").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "context" / "agent.sock"))
        assert [file[1] for file in copies(translated("FROM a\nCOPY . /d/\n", files=["x"]))[0].source.files] == ["x"]
    os.mkfifo(tmp_path / "context" / "pipe")
    image = translated("FROM a\nCOPY . /d/\n", files=["x"])
    assert ("pipe", "pipe", 0o010644, "") in copies(image)[0].source.files
    assert [file[0] for file in image.files] == ["x"], "a pipe has no content that a record could keep"


def test_an_image_of_configuration_alone_has_one_layer_without_a_file(translated):
    image = translated("FROM scratch\nENV a=b\n")
    assert [("/", "FROM scratch")] == [(step.path, step.label) for step in image.steps]


# Configuration


def test_instructions_that_change_the_configuration(translated):
    config = translated(
        """\
FROM a
LABEL version="1.0" "quoted key"="a b"
EXPOSE 80 443/tcp 53/udp 8000-8002
VOLUME /data /more
VOLUME ["/c d"]
STOPSIGNAL SIGINT
USER app
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost
WORKDIR /one
WORKDIR two
WORKDIR ../three
"""
    ).config
    assert config.labels == {"base": "yes", "version": "1.0", "quoted key": "a b"}
    assert config.exposed_ports == ("443/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp")
    assert config.volumes == ("/c d", "/data", "/more")
    assert (config.stop_signal, config.user, config.shell) == ("SIGINT", "app", ("/bin/bash", "-c"))
    assert config.healthcheck == {"Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 90_000_000_000, "Retries": 3}
    assert config.workdir == "/one/three"


@pytest.mark.parametrize(
    ("text", "entrypoint", "command"),
    [
        pytest.param("", ("tini", "--"), ("bash",), id="the base's"),
        pytest.param('CMD ["c"]', ("tini", "--"), ("c",), id="CMD alone"),
        pytest.param('ENTRYPOINT ["e"]', ("e",), (), id="ENTRYPOINT takes the base's CMD away"),
        pytest.param('CMD ["c"]\nENTRYPOINT ["e"]', ("e",), ("c",), id="but not the stage's own"),
        pytest.param("ENTRYPOINT e $X\nCMD c", ("/bin/sh", "-c", "e $X"), ("/bin/sh", "-c", "c"), id="shell form"),
        pytest.param('SHELL ["/bin/bash", "-c"]\nCMD c', ("tini", "--"), ("/bin/bash", "-c", "c"), id="another shell"),
        pytest.param("ENTRYPOINT []", (), (), id="none"),
    ],
)
def test_entrypoint_and_command_work_together_as_docker_has_it(translated, text, entrypoint, command):
    config = translated(f"FROM a\n{text}\n").config
    assert (config.entrypoint, config.command) == (entrypoint, command)


def test_maintainer_becomes_a_label_with_a_warning(translated):
    image = translated("FROM a\nMAINTAINER Ann <ann@host.lab>\n")
    assert image.config.labels["maintainer"] == "Ann <ann@host.lab>"
    assert image.warnings == ("Dockerfile:2: MAINTAINER is out of use: write `LABEL maintainer=…`",)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("EXPOSE http", "`http` of EXPOSE is not a port"),
        ("EXPOSE 70000", "`70000` of EXPOSE is not a port"),
        ("STOPSIGNAL SIGNOTHING", "`SIGNOTHING` is not a signal"),
        ("USER $NOBODY", "`$NOBODY` of USER is empty"),
        ("VOLUME $NOTHING", "a path of VOLUME is empty"),
    ],
)
def test_wrong_configuration_is_refused_with_its_line(translated, instruction, message):
    error = refusal(translated, f"FROM a\n{instruction}\n")
    assert (error.message, error.origin) == (message, Origin("Dockerfile", 2))


def test_the_same_dockerfile_gives_the_same_steps_wherever_the_context_lies(translated, tmp_path):
    text = "FROM a\nCOPY . /app/\n"
    one = translated(text, files=["x.py", "y/z.py"])
    other = translated(text, files=["x.py", "y/z.py"])
    assert one == other
    (tmp_path / "context" / "x.py").write_text("changed")
    assert translated(text).context_digest != one.context_digest

"""The long run: Atheris, which sees what of a reader an input reaches, tries inputs for as long as it is given.

    python tests/fuzz/long_run.py --kept DIR [--seconds N] [--rounds N] [NAME ...]

One reader after the other, each for N seconds in a process of its own, round after round. In DIR are the inputs that reach
something new (the next round begins with them), findings (one for each kind of failure and place), and `table.json`: inputs,
seconds and findings so far, and seconds since something new was reached. It goes on after a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent), str(_HERE.parents[1])]
_MOST_MEMORY_MB = 2048
_LONGEST = 8192


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kept", type=Path, required=True)
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("--rounds", type=int, default=1_000_000)
    asked.add_argument("--only", help=argparse.SUPPRESS)
    asked.add_argument("names", nargs="*")
    options = asked.parse_args()
    if options.only:
        _try_one(options.only, options.kept, options.seconds)
    else:
        _try_all(options)


def _try_all(options: argparse.Namespace) -> None:
    from harness import file_name
    from harnesses import HARNESSES

    for _ in range(options.rounds):
        for name in options.names or HARNESSES:
            words = [sys.executable, __file__, "--kept", str(options.kept), "--seconds", str(options.seconds), "--only", name]
            begun = time.monotonic()
            directory = options.kept / file_name(name)
            directory.mkdir(parents=True, exist_ok=True)
            with open(directory / "log", "w") as log:
                try:
                    subprocess.run(words, stdout=log, stderr=log, timeout=options.seconds + 60, check=False)
                except subprocess.TimeoutExpired:
                    _keep_finding(directory, "hang", (directory / "at").read_bytes())
            _add_to_table(options.kept, name, directory, time.monotonic() - begun)


def _add_to_table(kept: Path, name: str, directory: Path, seconds: float) -> None:
    path = kept / "table.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    of_one = table.setdefault(name, {"inputs": 0, "seconds": 0.0, "since_new_s": 0.0, "corpus": 0})
    corpus = len(os.listdir(directory / "corpus"))
    count = directory / "count"
    of_one["inputs"] += int(count.read_text()) if count.exists() else 0
    of_one["seconds"] += seconds
    of_one["since_new_s"] = of_one["since_new_s"] + seconds if corpus == of_one["corpus"] else 0.0
    of_one["corpus"] = corpus
    of_one["findings"] = len(list((directory / "findings").glob("*.input")))
    path.write_text(json.dumps(table, indent=1))


def _try_one(name: str, kept: Path, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["runtime", "launcher"]):
        from harness import file_name
        from harnesses import HARNESSES
    harness = HARNESSES[name]
    directory = kept / file_name(name)
    corpus = directory / "corpus"
    for needed in (corpus, directory / "findings"):
        needed.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(harness.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = harness.words or (b"\0",)  # libFuzzer refuses a file without any
    (directory / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in words if len(word) < 100))
    tried = 0
    at = os.open(directory / "at", os.O_RDWR | os.O_CREAT, 0o600)

    def try_out(content: bytes) -> None:
        nonlocal tried
        tried += 1
        os.ftruncate(at, 0)
        os.pwrite(at, content, 0)  # what a process that is killed was at
        try:
            harness.check(content)
        except Exception as error:
            _keep_finding(directory, _kind_of(error), content, traceback.format_exc())
        if tried % 100 == 0:
            (directory / "count").write_text(str(tried))

    def change(content: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return harness.damaged(content, chance)[:longest]
        return bytes(atheris.Mutate(content, longest))

    (directory / "count").write_text("0")
    limits = (
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-rss_limit_mb={_MOST_MEMORY_MB}",
        "-timeout=30",
        "-print_final_stats=1",
    )
    files = (f"-dict={directory / 'words'}", f"-artifact_prefix={directory}/findings/", str(corpus))
    atheris.Setup([sys.argv[0], *limits, *files], try_out, custom_mutator=change)
    atheris.Fuzz()


def _kind_of(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in last if "/runtime/" in frame.filename or "/launcher/" in frame.filename] or list(last)
    return f"{type(error).__name__}-{Path(ours[-1].filename).stem}-{ours[-1].name}"


def _keep_finding(directory: Path, kind: str, content: bytes, words: str = "") -> None:
    """The shortest input of each kind."""
    path = directory / "findings" / f"{kind}.input"
    if not path.exists() or path.stat().st_size > len(content):
        path.write_bytes(content)
        path.with_suffix(".txt").write_text(words)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()

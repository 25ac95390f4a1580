"""What one check found, and how it is found: tried out in a forked child, in namespaces that end with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.light_dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is there, and how. *command* turns on what is off; *advice* says what else there is to know, or what to
    do where one command doesn't do it."""

    ok: bool
    detail: str
    advice: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do when something was tried and failed."""

    advice: str = ""
    command: str = ""


def to_documents(findings: Mapping[str, Finding]) -> list[dict[str, Any]]:
    """*findings* by name as JSON values: `{"name": "kernel", "ok": true, …}`."""
    return [{"name": name, **asdict(finding)} for name, finding in findings.items()]


def good(detail: str) -> Finding:
    return Finding(True, detail)


def off(detail: str, *, advice: str = "", command: str = "") -> Finding:
    return Finding(False, detail, advice, command)


def try_out(work: Callable[[], str], remedy: Callable[[], Remedy] = Remedy) -> Finding:
    """Run *work* in a forked child; what it returns is the detail. The advice is the failure's own hint, or the *remedy*'s."""
    ok, detail, hint = _in_a_child(work)
    if ok:
        return good(detail)
    known = remedy()
    return off(detail, advice=known.advice or hint, command=known.command)


def _in_a_child(work: Callable[[], str]) -> tuple[bool, str, str]:
    answer = processes.answer_of_child(lambda: json.dumps(_outcome(work)).encode())
    if not answer:
        return False, "the process that tried it was killed", ""
    ok, detail, hint = json.loads(answer)
    return ok, detail, hint


def _outcome(work: Callable[[], str]) -> tuple[bool, str, str]:
    try:
        return True, work(), ""
    except RuntimeFailure as failure:
        return False, failure.message, failure.hint or ""
    except Exception as error:  # a bug, too, must become a line of the report and not a traceback in place of it
        return False, str(error), ""

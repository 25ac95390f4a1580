"""Numbers that a program prints with their names (`loss 0.123`), as `metrics.patterns` for a launch.

Read from the text of its `print` and logging calls: f-strings, `%` and `str.format`. A program that logs to MLflow or TensorBoard
needs none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from launcher.repository.source_tree import SourceTree, calls, dotted

_VALUE = "\0"
_NAMES = (
    "loss|acc|accuracy|error|err|ppl|perplexity|bleu|rouge|f1|auc|mse|rmse|mae|reward|return|score|r2|psnr|ssim|iou|miou|map|wer|"
    "elbo|kl"
)
_OF_A_SPLIT = r"(?:[_/](?:train|val|valid|test|eval|dev))?"
_NAMED = re.compile(
    rf"((?:[A-Za-z@0-9]+[ _-])?(?:\w+_)?(?:{_NAMES})(?:@\d+)?{_OF_A_SPLIT})(\]?\)?\s*(?:=|:|is|of|->|\s)\s*)\0", re.IGNORECASE
)
_PRINTS = re.compile(r"(?:print|.*\.(?:print|info|write|debug|set_description|set_postfix_str|log))")
_LOGS = re.compile(r"mlflow\.(?:log_metrics?|(?:\w+\.)?autolog)")
_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
_MOST = 8


def find_printed_metrics(tree: SourceTree, files: tuple[str, ...]) -> dict[str, str]:
    """Metric → pattern, of what *files* print; none where they tell MLflow, and would tell it twice."""
    modules = [parsed for path in files if (parsed := tree.module(path)) is not None]
    if any(_LOGS.fullmatch(dotted(call.func)) for parsed in modules for call in calls(parsed)):
        return {}
    found: dict[str, str] = {}
    for parsed in modules:
        for text in _printed(parsed):
            for named in _NAMED.finditer(text):
                found.setdefault(named[1], named[2].strip())
    kept = dict(list(found.items())[:_MOST])
    return {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): _pattern(name, kept) for name in kept}


def _pattern(name: str, all_names: Mapping[str, str]) -> str:
    """`train loss 0.1` is not a `loss` where both are printed."""
    is_end = any(other != name and other.endswith(f" {name}") for other in all_names)
    between = re.escape(all_names[name])
    begin, value = "(?<![a-z] )" if is_end else "", rf"\s*{between}\s*" if between else r"\s+"
    return rf"{begin}\b{re.escape(name).replace(chr(92) + ' ', ' ')}{value}{_NUMBER}"


def _printed(parsed: ast.Module) -> Iterator[str]:
    """Text with a mark where a value goes."""
    for call in calls(parsed):
        if not _PRINTS.fullmatch(dotted(call.func) or "-"):
            continue
        texts = [_text_of(argument) for argument in call.args]
        if any(texts):
            # print("loss", loss): what isn't text is a value after it.
            yield " ".join(text if text else _VALUE for text in texts)


def _text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+0-9.]*[dfgeis]|\{[^{}]*\}", _VALUE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else _VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _text_of(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text_of(node.left) or _VALUE) + (_text_of(node.right) or _VALUE)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _text_of(node.func.value)
    return ""

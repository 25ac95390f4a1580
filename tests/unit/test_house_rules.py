"""The house rules that a machine can check: sizes, names, docstrings, links, and what must not be written anywhere.

What ruff, mypy and import-linter check is not repeated here.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}

# In pieces, so that this file passes its own test. Addresses come from the settings of pip, uv and apt.
REGISTRY_HOSTS = tuple(
    name + domain
    for domain, names in {
        "py" + "pi.org": ("",),
        "python" + "hosted.org": ("",),
        "." + "debian.org": ("deb", "security", "ftp", "snapshot", "archive"),
        "registry.npm" + "js.org": ("",),
    }.items()
    for name in names
)
UNFINISHED = re.compile("|".join(rf"\b{word}\b" for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X")))

MODULES = sorted(
    path for package in ("launcher", "runtime") for path in (ROOT / package).rglob("*.py") if "_template" not in path.parts
)
SOURCES = sorted(
    {*MODULES, *(path for folder in ("experiments", "tests", "launcher/_template") for path in (ROOT / folder).rglob("*.py"))}
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "launcher/_template").rglob("*.md")])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {} == {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name} ({function.end_lineno - function.lineno + 1} lines)"
        for path in MODULES
        for function in functions(parsed(path))
        if function.end_lineno is not None and function.end_lineno - function.lineno + 1 > LONGEST_FUNCTION
    ]
    assert [] == long


def test_every_module_says_what_it_is() -> None:
    assert [] == [name_of(path) for path in SOURCES if path.read_text().strip() and not ast.get_docstring(parsed(path))]


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    """But for what `import launcher` gives."""
    packages = [path for path in MODULES if path.name == "__init__.py" and path.parent != ROOT / "launcher"]
    assert packages
    assert [] == [name_of(path) for path in packages if len(parsed(path).body) != 1]


def test_no_file_is_named_after_nothing() -> None:
    assert [] == [name_of(path) for path in SOURCES if path.stem.strip("_").lower() in NAMES_THAT_SAY_NOTHING]


def test_no_two_test_files_have_one_name() -> None:
    """Test folders are no packages, so pytest tells files apart by their names."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [] == sorted({name for name in names if names.count(name) > 1})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert [] == [target for target in links(page.read_text()) if not leads_somewhere(page, target)]


def test_every_decision_is_in_the_index_under_its_title() -> None:
    decisions = ROOT / "docs/decisions"
    titles = [(page.name[:3], page.read_text().partition("\n")[0], page.name) for page in sorted(decisions.glob("[0-9]*.md"))]
    index = (decisions / "README.md").read_text()
    assert [] == [
        name for number, title, name in titles if f"| {number} | [{title.removeprefix(f'# {number}. ')}]({name}) |" not in index
    ]


def links(markdown: str) -> list[str]:
    """Targets of `[text](target)` outside code; addresses on the web are not followed."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`(?!\])", "", markdown, flags=re.DOTALL | re.MULTILINE)
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(file.read_text())


def anchors(markdown: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", markdown, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_excerpts_in_the_tour_are_what_the_code_says() -> None:
    """Each line of a `python` block stands in the file that was linked last before it."""
    file, in_block, stale = ROOT / "docs", False, []
    for line in (ROOT / "docs/tour.md").read_text().splitlines():
        if line.startswith("```"):
            in_block = line == "```python"
        elif not in_block:
            for target in re.findall(r"\]\(([^)#]+\.py)\):$", line):
                file = (ROOT / "docs" / target).resolve()
        elif line.strip() not in ("", "…") and line.strip() not in {known.strip() for known in file.read_text().splitlines()}:
            stale.append(f"{name_of(file)}: {line}")
    assert [] == stale


def files_in_git() -> list[Path]:
    """What is or would be committed; outside a work tree, what lies in the folders that we know."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.split("\0")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    except (OSError, subprocess.SubprocessError):
        return [*SOURCES, *PAGES]


@cache
def texts_in_git() -> tuple[tuple[str, str], ...]:
    """Name and content of each file that is text."""
    found = []
    for path in files_in_git():
        with suppress(UnicodeDecodeError):
            found.append((name_of(path), path.read_text()))
    return tuple(found)


def lines_with(words: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()}"
        for name, text in texts_in_git()
        if words.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if words.search(line)
    ]


def test_no_address_of_a_package_registry_is_written_down() -> None:
    assert [] == lines_with(re.compile("|".join(map(re.escape, REGISTRY_HOSTS)), re.IGNORECASE))


def test_nothing_is_left_for_later() -> None:
    """What is not done is in no option and in no comment; it stands in docs/what-was-tried.md."""
    assert [] == lines_with(UNFINISHED)


def test_experiments_know_neither_launcher_nor_runtime() -> None:
    """Training code is the user's: it relies on the contract, not on us."""
    for folder in ("experiments", "launcher/_template"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = parsed(path)
            names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
            names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            assert not {name.split(".")[0] for name in names} & {"launcher", "runtime"}, path


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Imports inside of functions count as well: they hide a circle, and it is one all the same."""
    modules = {module_name(path): path for path in MODULES}
    left = {name: imported(name, modules) for name in modules}
    # Who imports nobody that is left, or is imported by none, is in no circle.
    while ends := {name for name, others in left.items() if not others} | (left.keys() - set().union(*left.values())):
        left = {name: others - ends for name, others in left.items() if name not in ends}
    assert [] == sorted(left)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """What is named in import statements outside of `if TYPE_CHECKING`: `a.b` and `a.b.c` for `from a.b import c`."""
    found, waiting = [], list[ast.AST](parsed(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return tuple(found)


def imported(name: str, modules: dict[str, Path]) -> set[str]:
    """Modules of ours that *name* imports; a package of which a module is imported is no import of the package."""
    named = _imports(modules[name])
    packages = {other for other in named if any(one.startswith(f"{other}.") for one in named if one in modules)}
    return {other for other in named if other in modules and other not in packages} - {name}

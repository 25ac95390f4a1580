"""A package as a tree of sources, with a build backend of its own, so that a build needs no index."""

from __future__ import annotations

_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "NAME"
version = "1.0"
"""
# Says what it can see. The editable kind leaves a "library" beside the module, as setuptools does with what it compiles.
_BACKEND = """\
import os, zipfile
def build(directory, files):
    seen = {os.path.relpath(os.path.join(at, name)): os.path.getsize(os.path.join(at, name))
            for at, _, names in os.walk(".") for name in names if not name.endswith(".pyc")}
    files["NAME-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n"
    files["NAME-1.0.dist-info/seen.txt"] = repr(sorted(name for name, size in seen.items() if size))
    files["NAME-1.0.dist-info/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files["NAME-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in [*files, "NAME-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, "NAME-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "NAME-1.0-py3-none-any.whl"
def build_wheel(directory, *more):
    return build(directory, {"NAME/__init__.py": open("src/NAME/__init__.py").read()})
def build_editable(directory, *more):
    open("src/NAME/_fast.so", "w").write(open("src/NAME/_fast.c").read())
    return build(directory, {"NAME.pth": os.path.abspath("src")})
"""


def package_files(name: str) -> dict[str, str]:
    """Path → text of the package *name*, whose module has `x = 1`."""
    return {
        "pyproject.toml": _PYPROJECT.replace("NAME", name),
        "backend.py": _BACKEND.replace("NAME", name),
        f"src/{name}/__init__.py": "x = 1\n",
        f"src/{name}/_fast.c": "int x;\n",
    }

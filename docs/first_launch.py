"""The picture of a first launch, out of what it said:

    FORCE_COLOR=1 launch experiment=digits 2>&1 | python3 docs/first_launch.py > docs/first-launch.svg

as an ordinary user with an empty state directory. Of the epochs the first three and the last two are shown; what is said of a
machine's limits (`note:`) and while one waits is not.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 124


def main() -> None:
    said = sys.stdin.read().replace(str(Path.home()), "~").splitlines()
    lines = [line for line in said if not Text.from_ansi(line).plain.startswith(("still:", "sending ", "note:"))]
    epochs = [number for number, line in enumerate(lines) if line.startswith("epoch")]
    shown = [*lines[: epochs[3]], "…", *lines[epochs[-2] :]]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), ("launch experiment=digits", "bold")))
    for line in shown:
        console.print(Text.from_ansi(line))
    print(console.export_svg(title="launch", unique_id="first-launch"))


if __name__ == "__main__":
    main()

"""What a pattern of `metrics.patterns` must look like: one group is the value, and one named `step` may be the step.

loss=([0-9.]+)                                   step 0, 1, 2, ... as they come
epoch (?P<step>\\d+): acc=(?P<value>[0-9.]+)      steps are the program's
"""

from __future__ import annotations

import re


def value_group(pattern: re.Pattern[str]) -> int:
    """The number of the group that holds the value. Raises ValueError when there is none, or no telling which."""
    if "value" in pattern.groupindex:
        return pattern.groupindex["value"]
    others = [number for number in range(1, pattern.groups + 1) if number != pattern.groupindex.get("step")]
    if not others:
        raise ValueError("it has no group for the value: put the number in parentheses, as in `loss=([0-9.]+)`")
    if len(others) > 1:
        raise ValueError("it has more than one group: name the one with the number `(?P<value>...)`, or write `(?:...)`")
    return others[0]

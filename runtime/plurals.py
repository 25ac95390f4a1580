"""Numbers with their nouns, in messages."""


def counted(number: float, noun: str) -> str:
    """`1 file`, `2 files`, `0.5 cpus`."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"

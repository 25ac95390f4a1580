"""What somebody meant who wrote a word that is not known: the nearest known ones, and the hint that names them."""

from __future__ import annotations

from collections.abc import Iterable


def similar(word: str, known: Iterable[str], *, limit: int, cutoff: float = 0.6) -> list[str]:
    """Of *known* at most *limit* words that are near to *word*, the nearest first. *cutoff*: 0 is anything, 1 the same."""
    import difflib  # only once there is a mistake: it takes 3 ms

    return difflib.get_close_matches(word, list(known), n=limit, cutoff=cutoff)


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of *known* that is nearest to *word*."""
    return next(iter(similar(word, known, limit=1, cutoff=cutoff)), None)


def did_you_mean(
    word: str, known: Iterable[str], *, prefix: str = "", suffix: str = "", limit: int = 1, cutoff: float = 0.6
) -> str | None:
    """The hint: "did you mean `--color`?" with the *prefix* `--`; None when no known word is near."""
    near = [f"`{prefix}{found}{suffix}`" for found in similar(word, known, limit=limit, cutoff=cutoff)]
    return f"did you mean {' or '.join(near)}?" if near else None

"""The sureness of a network at pictures that it learnt from, to be compared with that at others.

It travels in the description of a model. `vidparse.inference.looks` takes the same figures of what
is segmented.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidparse.textfiles import Json, JsonTable, as_number, as_table, as_whole


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of a figure over pictures, and its standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Two figures of a network's answers to the pictures that it learnt from.

    pictures: so many were looked at.
    confidence: the mean over positions of the greatest probability of a class, 0 to 1.
    entropy: the mean over positions of the entropy of the classes, where 1 means that all K of them
        are as likely: -sum(p log p) / log K.
    """

    pictures: int
    confidence: Spread
    entropy: Spread


def profile_from(record: Json) -> Profile:
    """The inverse of `asdict`, for JSON values.

    Raises:
        TypeError, ValueError: a value is of another type, or out of range.
        KeyError: a field is missing.
    """
    facts = as_table(record, "profile")
    return Profile(
        as_whole(facts["pictures"], "pictures of the profile", 1),
        _spread(facts, "confidence"),
        _spread(facts, "entropy"),
    )


def _spread(facts: JsonTable, name: str) -> Spread:
    figures = as_table(facts[name], name)
    mean, deviation = (as_number(figures[key], f"{key} of {name}") for key in ("mean", "deviation"))
    if not (0 <= mean <= 1 and 0 <= deviation <= 1):
        raise ValueError(f"{name} is to be a mean and a deviation from 0 to 1")
    return Spread(mean, deviation)

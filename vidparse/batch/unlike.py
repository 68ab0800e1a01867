"""The note on an input that looks unlike what the model learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from vidparse.hub.known import models_for_other
from vidparse.inference.looks import Look, is_unlike, mean_look
from vidparse.models.description import Description


def unlike_note(looks: Sequence[Look], description: Description) -> str:
    """One line for the user, with both figures and what to do; "" where the input looks known.

    Args:
        looks: at frames of the input. description: of the model, with its profile if it has one.
    """
    profile = description.profile
    if profile is None or not is_unlike(looks, profile):
        return ""
    found = mean_look(looks)
    others = " or ".join(f"-m {entry.name}" for entry in models_for_other(description.labels.name))
    return (
        "looks unlike what the model learnt from: mean confidence "
        f"{found.confidence:.2f} (there {profile.confidence.mean:.2f}), mean entropy "
        f"{found.entropy:.2f} (there {profile.entropy.mean:.2f}); check the result, and try "
        f"{others}, or train on pictures of your own"
    )

"""Choice of labels: those that agree with known coarser ones, and classes of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vidparse.data import FrameRecord
from vidparse.errors import InputError, UsageError
from vidparse.frame import Frame
from vidparse.labels import Labels, unions_of
from vidparse.training.autolabel.pictures import Picture


class Choice:
    """The scores that labels are chosen from: probabilities, less those that must not be.

    Args:
        labels: of the network.
        within: coarser labels of pictures to agree with; None: none.
        own: classes of a user's own, made of `labels`; None: those stay.
        read_mask: class ids uint8 (H, W) of a picture that has coarser labels.

    Attributes:
        labels: that are chosen from.
    """

    def __init__(
        self,
        labels: Labels,
        within: Within | None = None,
        own: OwnClasses | None = None,
        read_mask: Callable[[FrameRecord], np.ndarray] | None = None,
    ) -> None:
        self.labels = labels if own is None else own.labels
        self._within, self._own, self._read_mask = within, own, read_mask
        self._frame: Frame | None = None
        self._coarse: np.ndarray | None = None  # of this frame

    def __call__(self, frame: Frame, rows: slice, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (K, n, W) of rows of a frame -> (G, n, W).

        Raises:
            InputError: a mask that cannot be read, or of another size than its picture.
        """
        if self._within is not None:
            # Read the mask of a frame once: its rows come in several parts.
            if frame is not self._frame:
                self._frame, self._coarse = frame, self._coarse_of(frame)
            if self._coarse is not None:
                probabilities = self._within.constrained(probabilities, self._coarse[rows])
        return probabilities if self._own is None else self._own.sums(probabilities)

    def _coarse_of(self, frame: Frame) -> np.ndarray | None:
        """Coarser labels, uint8 (H, W), of a frame that has them."""
        record = frame.record if isinstance(frame, Picture) else None
        if record is None or not record.labelled or self._read_mask is None:
            return None

        mask = self._read_mask(record)
        if mask.shape != frame.image.size_hw:
            (h, w), (height, width) = mask.shape, frame.image.size_hw
            raise InputError(
                f"{record}: its mask is {w}x{h}, the image {width}x{height}; make them the same "
                "size"
            )
        return mask


class Within:
    """Coarse labels that the fine ones have to agree with.

    Raises:
        UsageError: `coarse` is not known as unions of `fine`.
    """

    def __init__(self, coarse: Labels, fine: Labels) -> None:
        table = unions_of(coarse, fine)
        self._allowed = np.zeros(
            (256, len(fine)), np.float32
        )  # none where the coarse label is void
        for class_id, name in enumerate(coarse.classes):
            self._allowed[class_id, list(fine.select(table[name]))] = 1

    def constrained(self, probabilities: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        """Probabilities (K, n, W) with those outside the unions zero and the rest summing to one.

        Args:
            coarse: uint8 (n, W). Where it is 255, ignore, the result is NaN.
        """
        found = probabilities * np.moveaxis(self._allowed[coarse], -1, 0)  # (K, n, W)

        # Let void divide by 0: its NaN marks that no label can be right.
        with np.errstate(invalid="ignore"):
            found /= found.sum(axis=0)
        return found


class OwnClasses:
    """Classes of a user's own, each one or more classes of a label set: "vehicle=car+bus".

    A pixel's probability of such a class is the sum of its members'. Pixels of no class are void.

    Args:
        texts: one per class: NAME, NAME=MEMBER+MEMBER, or NAME=* for all that no other one takes.
        labels: that the members are classes of.

    Attributes:
        labels: the new label set. A colour is that of the first member.

    Raises:
        UsageError: an unknown class, or one that is taken twice.
    """

    def __init__(self, texts: Sequence[str], labels: Labels) -> None:
        names = [text.partition("=")[0].strip() for text in texts]
        members = [
            text.partition("=")[2].strip() or name for text, name in zip(texts, names, strict=True)
        ]
        if "" in names or len(set(names)) < len(names) or members.count("*") > 1:
            raise UsageError(
                f"--classes {','.join(texts)}: give each class one name of its own, such as "
                "vehicle=car+bus,person,other=*"
            )

        taken: dict[int, str] = {}
        groups: list[tuple[int, ...]] = []
        for name, text in zip(names, members, strict=True):
            found = () if text == "*" else labels.select(text.split("+"))
            twice = next((one for one in found if one in taken), None)
            if twice is not None:
                raise UsageError(
                    f"--classes: '{labels.classes[twice]}' is in {taken[twice]} and in {name}; "
                    "choose one"
                )
            taken |= dict.fromkeys(found, name)
            groups.append(found)

        # Fill in * last, since it takes what all the others leave.
        rest = tuple(one for one in range(len(labels)) if one not in taken)
        groups = [
            rest if text == "*" else found for found, text in zip(groups, members, strict=True)
        ]

        self.labels = Labels(
            "own",
            tuple(names),
            tuple(labels.colours[group[0]] if group else (0, 0, 0) for group in groups),
            frozenset(i for i, group in enumerate(groups) if group and labels.things >= set(group)),
        )

        # Give a last group to what no class takes, which makes a pixel void where it wins.
        self._group = np.full(len(labels), len(groups))
        for i, group in enumerate(groups):
            self._group[list(group)] = i

    def sums(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (K, n, W) -> (G, n, W); NaN where what no class takes is likelier."""
        count = len(self.labels)
        sums = np.zeros((count + 1, *probabilities.shape[1:]), probabilities.dtype)
        for one, group in zip(probabilities, self._group, strict=True):
            sums[group] += one
        taken, rest = sums[:count], sums[count]
        taken[:, rest > taken.max(axis=0)] = np.nan
        return taken

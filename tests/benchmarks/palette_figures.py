"""How well each palette separates the classes of a label set, for three kinds of eyes.

`python tests/benchmarks/palette_figures.py` prints a Markdown table. Each figure is the CIEDE2000
of the two classes that look most alike, with all cones, and without green or red ones as Machado et
al. 2009 simulate it. Sets with more than 100 classes have rows for those often seen together, too.
"""

from __future__ import annotations

from vidparse.labels import available_labels, common_classes, load_labels
from vidparse.labels.colours import class_colours, uncoloured
from vidparse.labels.vision import VIEWS, least_differences

PALETTES = ("published", "apart", "distinct")


def main() -> None:
    print(f"| classes | palette | {' | '.join(VIEWS)} |")
    print(f"| --- | --- |{' --- |' * len(VIEWS)}")
    for name in available_labels():
        labels = load_labels(name)
        everything = [i for i in range(len(labels)) if i not in uncoloured(labels)]
        together = list(common_classes(labels))
        if len(everything) < 2:
            continue

        for counted in filter(None, (together, everything)):
            part = "" if counted is everything else f" of {len(labels)}"
            for palette in PALETTES:
                found = least_differences(class_colours(labels, palette)[counted])
                figures = " | ".join(f"{one:.1f}" for one in found)
                print(f"| {name}, {len(counted)}{part} | `{palette}` | {figures} |")


if __name__ == "__main__":
    main()

"""Options about labelled data sets that several requests share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vidparse.requests.option import Option

DatasetName = Annotated[
    str | None,
    Option("{choice}. [default: that of the folder]", flag="--dataset", choices="datasets"),
]
DataRoot = Annotated[Path | None, Option("Folder of the data set.", flag="--data")]

"""Several looks at a picture, and several models: their mean, by hand, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow

from support.colour_model import save_colour_model
from support.made_camvid import make_camvid
from support.small_networks import save_tcb_ocr
from vidparse.errors import UsageError
from vidparse.evaluation.request import run_evaluation
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import ModelChoice, Session, decided, load_chosen, load_model
from vidparse.inference.load import model_names
from vidparse.inference.preprocess import to_clip
from vidparse.labels import load_labels
from vidparse.requests.autolabel import AutolabelRequest
from vidparse.requests.evaluation import EvaluationRequest
from vidparse.requests.matte import MatteOptions
from vidparse.requests.segment import SegmentOptions
from vidparse.requests.variants import SCALES, LabelVariants, Variants
from vidparse.run import segment

SIZE_HW = (96, 144)
CLASSES = len(load_labels("camvid"))


def picture(seed: int = 0) -> np.ndarray:
    """Soft colours, whose classes change with the size they are seen at."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(small, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)


def probabilities(scores: np.ndarray, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """(K, H, W) of scores (K, h, w), as PyTorch has them."""
    full = F.interpolate(torch.from_numpy(scores.copy())[None].double(), size_hw, mode="bilinear")
    return full.softmax(dim=1)[0].numpy()


def looks(model: Path, rgb: np.ndarray, sizes: list[tuple[int, int]], flips: bool) -> np.ndarray:
    """The mean over sizes and mirrorings, each a pass of the model by itself."""
    runner = load_model(str(model), device="cpu", threads=1)
    found = []
    for size_hw in sizes:
        clip = to_clip(Rgb(rgb), size_hw, runner.description.preprocess)
        for turn in (1, -1) if flips else (1,):
            seen = np.ascontiguousarray(clip[..., ::turn])[None]
            found.append(probabilities(runner.answer(seen).values[0][..., ::turn]))
    return np.mean(found, axis=0)


def ids_of(model: str, rgb: np.ndarray, variants: Variants, **options: Any) -> np.ndarray:
    """The class ids of a session, as `segment` and `eval` make them."""
    runner = load_chosen(ModelChoice(model, device="cpu", threads=1, variants=variants))
    ((_, prediction),) = Session(runner, **options).run([Frame(0, 0, Rgb(rgb))])
    return prediction.ids


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = np.random.default_rng(8).standard_normal((CLASSES, 3, 1, 1))
    folder = tmp_path_factory.mktemp("other")
    return save_colour_model(folder / "other.onnx", "camvid", weights=weights)


def test_scales_and_flips_are_averaged_as_probabilities(colour_model: Path) -> None:
    rgb = picture()
    sizes = [(72, 108), (96, 144), (120, 180)]  # the model's own shorter side is 96
    wanted = looks(colour_model, rgb, sizes, flips=True).argmax(0)
    found = ids_of(str(colour_model), rgb, Variants((0.75, 1.0, 1.25), flip=True))
    assert (found == wanted).mean() > 0.999
    alone = looks(colour_model, rgb, sizes[1:2], flips=False).argmax(0)
    assert (ids_of(str(colour_model), rgb, Variants()) == alone).mean() > 0.999
    assert 0.002 < (wanted != alone).mean() < 0.3, "several looks answer something else"


def test_scales_are_of_the_requested_size(colour_model: Path) -> None:
    rgb = picture()
    wanted = looks(colour_model, rgb, [(48, 72), (96, 144)], flips=False).argmax(0)
    found = ids_of(str(colour_model), rgb, Variants((0.75, 1.5)), size=64)
    assert (found == wanted).mean() > 0.999
    wanted = looks(colour_model, rgb, [(32, 64), (64, 128)], flips=False).argmax(0)
    assert (ids_of(str(colour_model), rgb, Variants((0.5, 1.0)), size=(64, 128)) == wanted).all()


@pytest.mark.parametrize(("stride", "lefts"), [(0, (0, 43, 80)), (24, (0, 24, 48, 72, 80))])
def test_windows_slide_over_the_input_and_overlap(
    colour_model: Path, stride: int, lefts: tuple[int, ...]
) -> None:
    """64 of 96 x 144; 2/3 of 64 are 43, rounded up, and the last window ends with the side."""
    rgb = picture(3)
    runner = load_model(str(colour_model), device="cpu", threads=1)
    clip = to_clip(Rgb(rgb), SIZE_HW, runner.description.preprocess)
    tops = (0, 32) if not stride else (0, 24, 32)
    total, times = np.zeros((CLASSES, *SIZE_HW)), np.zeros(SIZE_HW)
    for top in tops:
        for left in lefts:
            part = np.ascontiguousarray(clip[..., top : top + 64, left : left + 64])[None]
            place = (slice(top, top + 64), slice(left, left + 64))
            total[(..., *place)] += probabilities(runner.answer(part).values[0], (64, 64))
            times[place] += 1
    wanted = (total / times).argmax(0)
    found = ids_of(str(colour_model), rgb, Variants(slide=64, slide_stride=stride))
    assert (found == wanted).mean() > 0.999


def test_models_separated_by_a_comma_are_averaged(colour_model: Path, other: Path) -> None:
    rgb = picture(5)
    one, two = (looks(model, rgb, [SIZE_HW], flips=False) for model in (colour_model, other))
    found = ids_of(f"{colour_model},{other}", rgb, Variants())
    assert (found == (one + two).argmax(0)).mean() > 0.999
    assert all((found != alone.argmax(0)).mean() > 0.02 for alone in (one, two))


def test_eval_and_segment_give_the_mean(
    colour_model: Path, other: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    (tmp_path / "CamVid").mkdir()
    camvid = make_camvid(tmp_path / "CamVid")
    images = sorted((camvid / "val").glob("*.png"))
    both = f"{colour_model},{other}"
    request = EvaluationRequest(
        "camvid", camvid, "val", (str(colour_model), both), resume=False,
        variants=Variants((0.75, 1.0), flip=True),
    )  # fmt: skip
    result = run_evaluation(request)
    assert [one.name for one in result.entries] == ["colours.onnx", "colours.onnx,other.onnx"]

    # Count right pixels of the session's answers, picture by picture.
    right, known = 0, 0
    for path in images:
        rgb = cv2.imread(str(path))[..., ::-1].copy()
        truth = cv2.imread(str(camvid / "valannot" / path.name), cv2.IMREAD_GRAYSCALE)
        ids = ids_of(both, rgb, request.variants)
        right, known = right + (ids == truth).sum(), known + (truth < 11).sum()
    assert result.entries[1].scores["pixel_accuracy"] == pytest.approx(right / known)

    out = tmp_path / "out"
    words = ["segment", str(images[0]), "-m", both, "--scales", "0.75,1", "--flip"]
    ended = cli(*words, "--save", "masks", "-o", f"{out}/", "--device", "cpu")
    assert ended.code == 0, ended.err
    (mask,) = out.rglob("*.png")
    rgb = cv2.imread(str(images[0]))[..., ::-1].copy()
    assert (np.array(Pillow.open(mask)) == ids_of(both, rgb, request.variants)).all()


def test_what_cannot_be_averaged_is_refused(
    colour_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tcb = str(save_tcb_ocr(tmp_path / "tcb.safetensors"))
    looking = Variants(flip=True)
    with pytest.raises(UsageError, match=r"tcb.safetensors: looks at the frames before.*--flip"):
        load_chosen(ModelChoice(tcb, device="cpu", variants=looking))
    with pytest.raises(UsageError, match="leave out the other models"):
        load_chosen(ModelChoice(f"{colour_model},{tcb}", device="cpu", variants=Variants()))
    with pytest.raises(UsageError, match=r"street-panoptic: is panoptic"):
        load_chosen(ModelChoice("street-panoptic", device="cpu", variants=Variants((0.5, 1.0))))

    runner = load_chosen(ModelChoice(str(colour_model), device="cpu", variants=looking))
    with pytest.raises(UsageError, match="stabilize: needs the scores of one look"):
        Session(runner, stabilize=True)
    with pytest.raises(UsageError, match="keyframes: the model does not take one frame"):
        Session(runner, keyframes=2)
    with pytest.raises(UsageError, match="matte: needs the scores of one look"):
        Session(runner, matte=MatteOptions())
    with pytest.raises(UsageError, match="--fps and --flip: give one"):
        segment("sample://street", SegmentOptions(fps=5, variants=looking, out=str(tmp_path)))
    (tmp_path / "camvid").mkdir()
    camvid = make_camvid(tmp_path / "camvid")
    with pytest.raises(UsageError, match="--flip: acts on models"):
        run_evaluation(
            EvaluationRequest("camvid", camvid, "val", (), (tmp_path,), variants=looking)
        )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scales": ()}, "above 0 and at most 8"),
        ({"scales": (0.0,)}, "above 0 and at most 8"),
        ({"slide": 31}, r"must lie in 32\.\.8192"),
        ({"slide": 64, "slide_stride": 65}, "at most their side"),
        ({"slide_stride": 10}, "for windows of --slide"),
    ],
)
def test_looks_that_cannot_be_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Variants(**fields)


def test_names_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_names("a, b") == ["a", "b"] and model_names("a") == ["a"]
    Path("x,y.onnx").touch()
    assert model_names("x,y.onnx") == ["x,y.onnx"], "a file may have a comma in its name"
    with pytest.raises(UsageError, match="a name is empty"):
        model_names("a,")
    assert model_names("x" * 5000) == ["x" * 5000] and model_names("a\0") == ["a\0"]
    assert Variants((0.5, 1.0), True, 64, 32).words == (
        "--scales 0.5,1 --flip --slide 64 --slide-stride 32"
    )
    assert Variants().is_plain and Variants().words == ""
    assert AutolabelRequest().variants == LabelVariants(SCALES, flip=True)


def test_workers_decide_as_the_first_process_did(colour_model: Path, other: Path) -> None:
    both = ModelChoice(f"{colour_model},{other}", device="cpu", variants=Variants(flip=True))
    runner = load_chosen(both)
    found = decided(both, runner)
    assert (found.name, found.variants) == (both.name, both.variants)
    assert load_chosen(found).precision == runner.precision == "fp32"
    again = load_chosen(both)
    assert runner.description.sha256 == again.description.sha256
    plain = load_chosen(ModelChoice(f"{colour_model},{other}", device="cpu", variants=Variants()))
    assert plain.description.sha256 != runner.description.sha256

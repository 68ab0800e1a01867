"""How sure a network is: both figures by hand, and the notes of a run on them."""

from __future__ import annotations

import itertools
import json
import math
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.colour_model import save_colour_model
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Session, load_model
from vidparse.inference.answer import ClassIds, Scores
from vidparse.inference.looks import (
    LEAST_LOOKS,
    MOST_LOOKS,
    Look,
    is_unlike,
    look_at,
    looks_at,
    mean_look,
    profile_of,
)
from vidparse.inference.memory import Finishing
from vidparse.models.profile import Profile, Spread
from vidparse.requests.segment import SegmentOptions
from vidparse.resume.plain import pack, unpack
from vidparse.run import Summary, segment

# The model below gives one class ten times the odds of each of the ten others: half of it all.
_ODDS = (10, *[1] * 10)
_CONFIDENCE = 0.5
_ENTROPY = (0.5 * math.log(2) + 10 * 0.05 * math.log(20)) / math.log(11)  # 0.769

SURE = Profile(9, Spread(0.9, 0.02), Spread(0.1, 0.02))
SAME = Profile(9, Spread(0.52, 0.02), Spread(0.1, 0.02))  # one figure is as it was


def scores_of(*probabilities: float, size_hw: tuple[int, int] = (5, 7)) -> np.ndarray:
    """Scores of a frame that has these probabilities everywhere."""
    logs = np.log(np.array(probabilities, np.float32))
    return np.broadcast_to(logs[:, None, None], (len(logs), *size_hw))


def test_figures_are_those_of_the_probabilities() -> None:
    look = look_at(scores_of(0.9, 0.1))
    bits = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))  # 0.469
    assert astuple(look) == pytest.approx((0.9, bits), abs=1e-6)
    assert astuple(look_at(scores_of(*[0.25] * 4))) == pytest.approx((0.25, 1.0), abs=1e-6)
    assert look_at(scores_of(1.0)) == Look(1.0, 0.0)  # one class: nothing to be unsure of


def test_sure_scores_have_no_entropy_and_no_overflow() -> None:
    scores = np.zeros((3, 2, 2), np.float32)
    scores[1] = 1e30
    assert look_at(scores) == Look(1.0, 0.0)


def test_positions_count_alike() -> None:
    scores = np.stack([scores_of(0.9, 0.1, size_hw=(4, 4)), scores_of(0.6, 0.4, size_hw=(4, 4))])
    half = np.concatenate([scores[0], scores[1]], axis=1)
    assert look_at(half).confidence == pytest.approx(0.75, abs=1e-6)

    # A large map is looked at in places, spread over all of it.
    large = half.repeat(80, axis=1).repeat(160, axis=2)
    assert look_at(large).confidence == pytest.approx(0.75, abs=1e-6)


def test_sixteen_frames_of_a_video_are_looked_at_however_it_is_cut() -> None:
    frames = np.stack([scores_of(0.5 + n / 4000, 0.5 - n / 4000) for n in range(1000)])
    whole = looks_at(Scores(frames), 0)
    wanted = [0.5 + 3 * place**2 / 4000 for place in range(16)]
    assert [look.confidence for look in whole] == pytest.approx(wanted, abs=1e-6)
    assert len(whole) == MOST_LOOKS

    cuts = [0, 1, 4, 12, 13, 400, 676, 1000]
    pieces = [looks_at(Scores(frames[a:b]), a) for a, b in itertools.pairwise(cuts)]
    assert tuple(itertools.chain(*pieces)) == whole
    assert looks_at(ClassIds(np.zeros((4, 2, 2), np.uint8)), 0) == ()


def test_a_profile_is_mean_and_deviation() -> None:
    found = profile_of([Look(0.8, 0.3), Look(0.9, 0.1), Look(1.0, 0.2)])
    assert found == Profile(3, Spread(0.9, 0.0816), Spread(0.2, 0.0816))
    found = mean_look([Look(0.8, 0.3), Look(0.9, 0.1)])
    assert (found.confidence, found.entropy) == pytest.approx((0.85, 0.2))


def test_one_frame_within_two_deviations_of_one_figure_is_enough() -> None:
    odd, fine = Look(0.85, 0.15), Look(0.86, 0.9)
    assert is_unlike([odd] * LEAST_LOOKS, SURE)
    assert not is_unlike([odd] * LEAST_LOOKS + [fine], SURE)
    assert not is_unlike([odd] * LEAST_LOOKS + [Look(0.1, 0.14)], SURE)
    assert not is_unlike([odd] * (LEAST_LOOKS - 1), SURE), "too few to say"
    assert not is_unlike([odd] * 9, None)


def test_a_look_costs_little() -> None:
    scores = np.random.default_rng(0).standard_normal((11, 272, 480)).astype(np.float32)
    look_at(scores)
    begun_s = time.process_time()
    for _ in range(MOST_LOOKS):
        look_at(scores)
    assert time.process_time() - begun_s < 0.5  # of all 16; it takes about 0.03 s


class TestRuns:
    """`segment` with a model whose figures are known."""

    @pytest.fixture
    def model(self, tmp_path: Path):
        def made(profile: Profile | None) -> Path:
            name = {SURE: "sure", SAME: "same", None: "none"}[profile]
            return save_colour_model(
                tmp_path / f"{name}.onnx",
                "camvid",
                weights=np.zeros((11, 3, 1, 1)),
                biases=np.log(np.array(_ODDS, np.float64)),
                profile=profile,
            )

        return made

    def run(self, out: Path, *inputs: Path, **options: Any) -> Summary:
        options = {"device": "cpu", "save": "masks", **options}
        summary = segment(list(map(str, inputs)), SegmentOptions(out=f"{out}/", **options))
        assert summary.exit_code == 0, [one.error for one in summary.inputs]
        return summary

    def notes(self, summary: Summary) -> list[list[str]]:
        return [[n for n in one.notes if "unlike" in n] for one in summary.inputs]

    def test_an_input_unlike_the_profile_is_noted_once(self, model, clip, tmp_path: Path) -> None:
        video = clip("x.mp4", frames=30)
        (notes,) = self.notes(self.run(tmp_path / "a", video, model=model(SURE)))
        (note,) = notes
        assert note == (
            "looks unlike what the model learnt from: mean confidence 0.50 (there 0.90), mean "
            "entropy 0.77 (there 0.10); check the result, and try -m everyday-student, or train "
            "on pictures of your own"
        )
        assert f"{_CONFIDENCE:.2f}" in note and f"{_ENTROPY:.2f}" in note

    @pytest.mark.parametrize("profile", [SAME, None])
    def test_other_inputs_are_not(self, model, clip, tmp_path: Path, profile) -> None:
        video = clip("x.mp4", frames=30)
        assert self.notes(self.run(tmp_path / "a", video, model=model(profile))) == [[]]
        assert self.notes(self.run(tmp_path / "b", clip("y.mp4", frames=9), model=model(SURE))) == [
            []
        ], "too short to say"

    def test_outputs_are_those_of_a_model_without_a_profile(
        self, model, clip, tmp_path: Path
    ) -> None:
        video = clip("x.mp4", frames=30)
        written = []
        for profile in (SURE, None):
            out = tmp_path / str(profile is None)
            self.run(out, video, model=model(profile))
            written.append({p.name: p.read_bytes() for p in out.rglob("*.png")})
        assert written[0] == written[1] and written[0]

    @pytest.mark.parametrize(
        "how",
        [{}, {"keyframes": 4}, {"jobs": 2}, {"workers": 2}, {"fps": 5.0}, {"stabilize": True}],
        ids=lambda how: next(iter(how), "plain"),
    )
    def test_each_input_has_its_note_however_it_is_run(
        self, model, clip, tmp_path: Path, how: dict[str, Any]
    ) -> None:
        videos = [clip("x.mp4", frames=80), clip("y.mp4", frames=30), clip("z.mp4", frames=5)]
        found = self.notes(self.run(tmp_path / "out", *videos, model=model(SURE), **how))
        assert [len(notes) for notes in found] == [1, 1, 0]

    def test_a_run_that_is_complete_repeats_no_note(self, model, clip, tmp_path: Path) -> None:
        video = clip("x.mp4", frames=30)
        wishes = {"model": model(SURE), "resume": True}
        first = self.run(tmp_path / "out", video, **wishes)
        again = self.run(tmp_path / "out", video, **wishes)
        assert [len(n) for n in (*self.notes(first), *self.notes(again))] == [1, 0]

    def test_a_run_that_goes_on_judges_by_all_of_its_looks(self, model) -> None:
        rng = np.random.default_rng(0)
        frames = [Frame(i, i, Rgb(rng.integers(0, 255, (32, 48, 3), np.uint8))) for i in range(30)]
        path = model(SURE)
        whole, before, after = (Session(load_model(path, device="cpu")) for _ in range(3))
        list(whole.run(frames))
        assert len(whole.looks) == 4  # frames 0, 3, 12 and 27

        # Go on behind frame 13 from what a journal would hold, as bytes.
        list(before.run(frames[:13]))
        kept = unpack(Finishing, pack(before.finishing))
        rest = after.answered(
            after.prepared(frames[13:], after=frames[12]), live=False, number=13, memory=None
        )
        list(after.finished(rest, memory=kept))
        assert after.looks == whole.looks and len(before.looks) == 3

    def test_json_has_the_figures(self, model, clip, tmp_path: Path, cli) -> None:
        video = clip("x.mp4", frames=30)
        done = cli("segment", video, "-m", model(SURE), "-o", f"{tmp_path}/o/", "--json")
        assert done.code == 0, done.err
        (found,) = (one["looks"] for one in json.loads(done.out)["inputs"])
        assert found == {
            "frames": 4,
            "confidence": round(_CONFIDENCE, 4),
            "entropy": round(_ENTROPY, 4),
            "highest_confidence": round(_CONFIDENCE, 4),
            "lowest_entropy": round(_ENTROPY, 4),
        }

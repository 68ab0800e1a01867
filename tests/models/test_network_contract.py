"""Every network of the zoo keeps the one contract, and the bundled models their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.blobs import Blobs, BlobsConfig
from vidparse.errors import ModelError
from vidparse.export import rendered_clips
from vidparse.export.parity import check_parity, windows_of, winners
from vidparse.inference import load_model
from vidparse.labels import load_labels
from vidparse.models.description import StateTensor, metadata_of
from vidparse.models.network import (
    Answer,
    CentreMaps,
    KernelMaps,
    Masks,
    Outputs,
    Scores,
    State,
    VideoNetwork,
)
from vidparse.models.zoo import MODELS, build, facts_of, settings_for

SIZE_HW = (64, 96)
# Settings that make a network small; one without an entry is taken as it is.
SMALL: dict[str, dict[str, Any]] = {
    "perframe": {"backbone": "resnet18", "width": 16},
    "netwarp": {"backbone": "resnet18", "width": 16, "flow": "none"},
    "ssltm": {"backbone": "resnet18", "width": 16, "key_width": 8, "heads": 2, "bank_key_width": 8},
    "tcb-ppm": {"backbone": "resnet18", "width": 16, "auxiliary_width": 8},
    "tcb-ocr": {"backbone": "resnet18", "width": 16, "key_width": 8},
    "clip-panofcn": {
        "backbone": "resnet18", "width": 16, "kernel_width": 16, "feature_width": 8,
    },
    "vip-deeplab": {
        "backbone": "resnet18", "pooling_width": 16, "semantic_width": 16, "instance_width": 8,
    },
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_thread")
BUNDLED = Path(__file__).with_name("bundled_scores.json")


@pytest.fixture(scope="module", params=MODELS)
def arch(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(arch: str) -> VideoNetwork:
    torch.manual_seed(0)
    settings = settings_for(arch, load_labels("camvid"))
    return build(arch, {**settings, **SMALL.get(arch, {})}).eval()


def frames(count: int) -> Tensor:
    """Noise (1, T, 3, H, W)."""
    return torch.randn(1, count, 3, *SIZE_HW, generator=torch.Generator().manual_seed(1))


def classes_found(answer: Answer) -> np.ndarray:
    return winners({name: part.detach().numpy() for name, part in answer.outputs().items()})


def test_answers_fit_the_clip_and_the_state_keeps_its_shapes(network: VideoNetwork) -> None:
    clip = frames(network.window)
    state = network.first_state(clip)
    wanted = [tensor.full_shape(SIZE_HW) for tensor in network.state_tensors]
    assert [tuple(one.shape) for one in state] == wanted
    assert network.is_per_frame == (network.window == 1 and not wanted)
    with torch.inference_mode():
        for _ in range(3):
            answer, state = network(clip, state)
            assert [tuple(one.shape) for one in state] == wanted
            if network.task == "semantic":
                assert isinstance(answer, Scores)
                assert answer.logits.shape[:3] == (1, network.window, 11)
            elif isinstance(answer, KernelMaps):
                assert all(len(one) == network.window for one in answer.centres)
                assert answer.features.shape[2:] == (SIZE_HW[0] // 4, SIZE_HW[1] // 4)
            elif isinstance(answer, CentreMaps):
                assert answer.classes.shape == (1, 11, SIZE_HW[0] // 4, SIZE_HW[1] // 4)
                assert answer.earlier_offsets.shape == (1, 2, SIZE_HW[0] // 4, SIZE_HW[1] // 4)
            else:
                assert isinstance(answer, Masks)
                assert answer.logits.shape[:2] == (len(answer.scores), network.window)
                assert len(answer.class_ids) == len(answer.scores)


def test_the_last_clip_of_a_shot_may_be_short(network: VideoNetwork) -> None:
    with torch.inference_mode():
        for count in range(1, network.window + 1):
            clip = frames(count)
            answer, _ = network(clip, network.first_state(clip))
            assert len(classes_found(answer)) == count


def test_several_frames_in_one_call_are_several_calls(network: VideoNetwork) -> None:
    if network.window > 1:
        pytest.skip("it sees the frames of a clip together")
    clip = frames(3)
    state = network.first_state(clip)
    alone = []
    with torch.inference_mode():
        together, after = network(clip, state)
        for picture in clip.unbind(1):
            answer, state = network(picture[:, None], state)
            alone.append(list(answer.outputs().values()))
    for expected, *parts in zip(together.outputs().values(), *alone, strict=True):
        joined = torch.cat(parts).reshape(expected.shape)
        torch.testing.assert_close(joined, expected)
    for one, other in zip(state, after, strict=True):
        torch.testing.assert_close(one, other)


def test_training_takes_the_frames_it_names(network: VideoNetwork) -> None:
    generator = np.random.default_rng(0)
    drawn = [network.companions(network.config, generator) for _ in range(20)]
    assert len({len(one) for one in drawn}) == 1, "always as many"
    assert all(one[-1] == 0 and max(one) == 0 for one in drawn), "the target last, none after it"
    clips = frames(len(drawn[0])).repeat(2, 1, 1, 1, 1)
    if not network.has_training_pass:
        with pytest.raises(NotImplementedError, match="forward_clip is to be written"):
            network.forward_clip(clips)
        return
    outputs = network.train().forward_clip(clips)
    network.eval()
    assert outputs.logits.shape[:2] == (2, 11)
    if outputs.auxiliary is not None:
        assert len(outputs.auxiliary) % (2 * clips.shape[1]) == 0
    labels = torch.zeros(2, *SIZE_HW, dtype=torch.int64)
    for name, term in network.own_terms(outputs, labels, ignore=255).items():
        assert term.shape == () and term.isfinite(), name


def test_groups_hold_every_parameter_once(network: VideoNetwork) -> None:
    backbone, rest = network.groups()
    both = [id(one) for one in (*backbone, *rest)]
    assert sorted(both) == sorted(id(one) for one in network.parameters())
    assert bool(backbone) == bool(network.backbone_name)


def test_the_tapped_convolution_is_its_own_and_runs(network: VideoNetwork) -> None:
    tapped = network.tapped()
    assert any(module is tapped for module in network.modules())
    seen: list[Tensor] = []
    handle = tapped.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        clip = frames(len(network.companions(network.config, _rng())))
        if network.has_training_pass:
            network.forward_clip(clip)
        else:
            network(clip, network.first_state(clip))
    handle.remove()
    assert seen and seen[0].shape[1] == tapped.in_channels


def test_only_training_has_what_only_training_needs(arch: str, network: VideoNetwork) -> None:
    lean = build(arch, facts_of(network)["config"], training=False).eval()
    kept = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name.split(".")[0] not in network.training_only
    }
    lean.load_state_dict(kept)
    clip = frames(network.window)
    with torch.inference_mode():
        one, other = (net(clip, net.first_state(clip))[0] for net in (network, lean))
    assert np.array_equal(*(classes_found(answer) for answer in (one, other)))


def test_descriptions_carry_the_contract(arch: str, network: VideoNetwork) -> None:
    table = metadata_of(
        arch=arch, **facts_of(network), labels=load_labels("camvid"), preprocess=_preprocess(),
        training={},
    )  # fmt: skip
    record = json.loads(table["vidparse"])
    assert (record["task"], record["window"]) == (network.task, network.window)
    assert record["alignment"] == network.alignment >= 1


def test_masks_of_a_window_are_exported_with_their_memory(tmp_path: Path) -> None:
    import onnx

    from vidparse.export.onnx import save_model, to_onnx

    torch.manual_seed(3)
    network = Blobs(BlobsConfig()).eval()
    path = tmp_path / "blobs.onnx"
    save_model(to_onnx(network), path)
    graph = onnx.load(path).graph
    assert [one.name for one in graph.input] == ["clip", "mean"]
    names = ["masks", "scores", "class_ids", "keys", "mean_next"]
    assert [one.name for one in graph.output] == names
    assert [one.dim_value for one in graph.input[0].type.tensor_type.shape.dim[:3]] == [1, 3, 3]
    parity = check_parity(network, path, rendered_clips(7, (64, 80)))
    assert parity.frames == 6, "of whole windows"
    assert parity.max_abs_difference < 1e-4 and parity.argmax_agreement == 1.0
    with pytest.raises(NotImplementedError, match="Blobs: forward_clip is to be written"):
        network.forward_clip(frames(3))


def test_windows_hold_consecutive_frames() -> None:
    pictures = [np.full((1, 3, 2, 2), i, np.float32) for i in range(5)]
    first, second = windows_of(pictures, 2)
    assert first.shape == (1, 2, 3, 2, 2)
    assert [first[0, 0, 0, 0, 0], second[0, 1, 0, 0, 0]] == [0, 3]
    assert windows_of(pictures, 1)[4] is pictures[4]
    (padded,) = windows_of(pictures[:2], 3)
    assert padded[0, :, 0, 0, 0].tolist() == [0, 1, 1], "the last is repeated"


class Average(VideoNetwork):
    """Scores of a frame, steadied by a memory of a kind that nothing else knows."""

    state_tensors = (StateTensor("past", (3,), stride=1),)

    def forward(self, clip: Tensor, state: State) -> tuple[Scores, State]:
        past, found = state[0], []
        for picture in clip.unbind(1):
            past = (past + picture) / 2
            found.append(past)
        return Scores(torch.stack(found, dim=1)), (past,)

    @classmethod
    def companions(cls, config: Any, rng: np.random.Generator) -> tuple[int, ...]:
        return (-2, -1, 0)


def test_an_unknown_memory_is_trained_by_its_own_frames() -> None:
    from vidparse.training.objectives import OBJECTIVES
    from vidparse.training.recipe_file import load_recipe

    network = Average(BlobsConfig())
    plan = OBJECTIVES["supervised"].clips(load_recipe("street-plain"), network)
    assert (plan.length, plan.neighbours.draw(_rng())) == (3, (-2, -1, 0))
    clip = frames(3)
    outputs = network.forward_clip(clip)
    assert isinstance(outputs, Outputs)
    expected = clip[:, 0] / 8 + clip[:, 1] / 4 + clip[:, 2] / 2
    torch.testing.assert_close(outputs.logits, expected)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize(
    "name", ["street-student", "street-tcb", "street19-student", "everyday-student"]
)
def test_bundled_models_answer_as_they_did(name: str, backend: str) -> None:
    """Against scores kept at commit 3d8d395; CPUs differ in the order of their sums."""
    record = json.loads(BUNDLED.read_text())
    known = np.array(record["scores"][f"{name}/{backend}"])  # (2, K, rows, columns)
    runner = load_model(name, backend=backend, device="cpu", precision="fp32", threads=1)
    clips = rendered_clips(record["frames"][-1] + 1, (152, 200))
    scores = [runner.answer(clip[None]).values[0] for clip in clips]
    for frame, expected in zip(record["frames"], known, strict=True):
        found = scores[frame][:, record["rows"]][:, :, record["columns"]]
        np.testing.assert_allclose(found, expected, atol=5e-3)


def test_settings_of_unknown_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="architecture 'perfame': unknown"):
        settings_for("perfame", load_labels("camvid"))


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


def _preprocess():
    from vidparse.models.description import Preprocess

    return Preprocess(64)

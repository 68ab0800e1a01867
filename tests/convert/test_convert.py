"""Checkpoints of published code become ours: same outputs, nothing left over, nothing unpickled."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vidparse.convert import SOURCES, convert, read_tensors
from vidparse.data import labelled_frames, open_dataset
from vidparse.errors import ModelError, OutputError, UsageError
from vidparse.image import Rgb
from vidparse.inference.preprocess import network_size, to_clip
from vidparse.labels import load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.network import zero_state
from vidparse.models.zoo import build
from vidparse.video import open_video

# Our names -> those of the published code, written from that code and not from our tables.
VSPW_BACKBONE = [(r"^backbone\.", "encoder.")]
VSPW_PSP = [
    *VSPW_BACKBONE,
    (r"^head\.pooling\.branches\.(\d)\.0\.", r"decoder.ppm.\1.1."),
    (r"^head\.pooling\.branches\.(\d)\.1\.", r"decoder.ppm.\1.2."),
    (r"^head\.fuse\.", "decoder.conv_last_."),
    (r"^head\.classifier\.", "decoder.conv_last_.4."),
    (r"^auxiliary\.0\.", "decoder.cbr_deepsup."),
    (r"^auxiliary\.2\.", "decoder.conv_last_deepsup_."),
]
TCB_PPM = [
    *VSPW_BACKBONE,
    (r"^head\.pooling\.branches\.", "ppm_conv.ppm."),
    (r"^head\.fuse\.", "ppm_conv.conv_last_."),
    (r"^head\.classifier\.", "ppm_conv.conv_last_.4."),
    (r"^auxiliary\.0\.", "deepsup."),
    (r"^auxiliary\.2\.", "deepsup.4."),
]
ATTENTION = "spatial_ocr_head.object_context_block"
OCR = [
    (r"^head\.pixel\.", "conv_3x3."),
    (r"^head\.region\.0\.", "dsn_head."),
    (r"^head\.region\.2\.", "dsn_head.4."),
    (r"^head\.query\.0\.", f"{ATTENTION}.f_pixel."),
    (r"^head\.query\.1\.0\.", f"{ATTENTION}.f_pixel.3."),
    (r"^head\.query\.1\.1\.", f"{ATTENTION}.f_pixel.4."),
    (r"^head\.key\.0\.", f"{ATTENTION}.f_object."),
    (r"^head\.key\.1\.0\.", f"{ATTENTION}.f_object.3."),
    (r"^head\.key\.1\.1\.", f"{ATTENTION}.f_object.4."),
    (r"^head\.value\.", f"{ATTENTION}.f_down."),
    (r"^head\.context\.", f"{ATTENTION}.f_up."),
    (r"^head\.fuse\.", "spatial_ocr_head.conv_bn_dropout."),
    (r"^head\.classifier\.", "head."),
]
TCB_OCR = [*VSPW_BACKBONE, *OCR]
VSPW_OCR = [*VSPW_BACKBONE, *((ours, f"decoder.{theirs}") for ours, theirs in OCR)]
SEMSEG = [
    (r"^backbone\.conv1\.", "layer0.0."),
    (r"^backbone\.bn1\.", "layer0.1."),
    (r"^backbone\.conv2\.", "layer0.3."),
    (r"^backbone\.bn2\.", "layer0.4."),
    (r"^backbone\.conv3\.", "layer0.6."),
    (r"^backbone\.bn3\.", "layer0.7."),
    (r"^backbone\.", ""),
    (r"^head\.pooling\.branches\.(\d)\.0\.", r"ppm.features.\1.1."),
    (r"^head\.pooling\.branches\.(\d)\.1\.", r"ppm.features.\1.2."),
    (r"^head\.fuse\.", "cls."),
    (r"^head\.classifier\.", "cls.4."),
    (r"^auxiliary\.0\.", "aux."),
    (r"^auxiliary\.2\.", "aux.4."),
]
SMALL = {"classes": 124, "backbone": "resnet18-deep", "output_stride": 8, "width": 24}
PSP = SMALL | {"auxiliary": True, "auxiliary_width": 40}


def theirs(name: str, table: list[tuple[str, str]]) -> str:
    for pattern, replacement in table:
        new, count = re.subn(pattern, replacement, name)
        if count:
            return new
    raise AssertionError(name)


def waken(network: torch.nn.Module) -> torch.nn.Module:
    """Give batch norms statistics that differ, so that a swapped tensor shows."""
    torch.manual_seed(3)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "weight")) and tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            tensor.uniform_(-0.2, 0.2)
    return network.eval()


@pytest.fixture
def round_trip(tmp_path):
    """Our network -> their file -> our file; the largest difference of the outputs."""

    def run(arch, config, table, source, *, wrap=dict, split=False, **wishes):
        network = waken(build(arch, config))
        state = {theirs(name, table): t for name, t in network.state_dict().items()}
        files = [tmp_path / "net.pth"]
        if split:
            files = [tmp_path / "encoder.pth", tmp_path / "decoder.pth"]
            for part, path in zip(("encoder.", "decoder."), files, strict=True):
                torch.save(
                    {k.removeprefix(part): v for k, v in state.items() if k.startswith(part)}, path
                )
        else:
            torch.save(wrap(state), files[0])
        done = convert(
            files, tmp_path / "out.safetensors", source=source, arch=arch, labels="vspw", **wishes
        )
        assert done.tensors == len(state)
        description = read_description(done.path)
        assert description.labels == load_labels("vspw")
        clip = torch.randn(1, 3, 64, 96)
        state = zero_state(network.state_tensors, (64, 96), clip.device, clip.dtype)
        with torch.no_grad():
            before = network.step(clip, state)[0]
            after = load_network(description).step(clip, state)[0]
        assert before.logits.std() > 0
        return float((before.logits - after.logits).abs().max())

    return run


class TestRoundTrips:
    def test_vspw_pspnet_from_two_files(self, round_trip):
        assert round_trip("perframe", PSP, VSPW_PSP, "vspw", split=True) == 0

    def test_vspw_pspnet_whole(self, round_trip):
        assert round_trip("perframe", PSP, VSPW_PSP, "vspw") == 0

    def test_vspw_ocrnet(self, round_trip):
        config = SMALL | {"head": "ocr", "key_width": 16}
        assert round_trip("perframe", config, VSPW_OCR, "vspw", split=True) == 0

    def test_tcb_ppm_saved_by_data_parallel(self, round_trip):
        def wrap(state):
            return {f"module.{name}": tensor for name, tensor in state.items()}

        assert round_trip("tcb-ppm", PSP, TCB_PPM, "vspw", wrap=wrap) == 0

    def test_tcb_ocr_with_its_published_memory(self, round_trip):
        config = SMALL | {"key_width": 16, "memory": "first_clip"}
        settings = {"memory": "first_clip"}
        assert round_trip("tcb-ocr", config, TCB_OCR, "vspw", settings=settings) == 0

    def test_semseg_pspnet(self, round_trip):
        def wrap(state):
            state = {f"module.{name}": tensor for name, tensor in state.items()}
            return {"epoch": 3, "state_dict": state, "optimizer": {"state": {}}}

        config = PSP | {"align_corners": True, "dilation_rule": "all"}
        assert round_trip("perframe", config, SEMSEG, "semseg", wrap=wrap) == 0


@pytest.fixture
def pspnet(tmp_path):
    """A small PSPNet under VSPW's names, and where to convert it to."""
    state = build("perframe", PSP).state_dict()
    state = {theirs(name, VSPW_PSP): tensor for name, tensor in state.items()}

    def run(changed=None, **wishes):
        torch.save(state if changed is None else changed(dict(state)), tmp_path / "net.pth")
        wishes = {"source": "vspw", "arch": "perframe", "labels": "vspw"} | wishes
        return convert([tmp_path / "net.pth"], tmp_path / "out.safetensors", **wishes)

    return run


def test_step_counters_of_norms_may_be_missing(pspnet):
    def strip(state):
        return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}

    tensors = read_tensors(pspnet(strip).path)
    assert tensors["head.fuse.1.num_batches_tracked"] == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s | {"pspweight_conv.0.weight": torch.zeros(1)}, r"'pspweight_conv.0.weig"),
            (lambda s: {k: v for k, v in s.items() if k != "decoder.conv_last_.1.bias"}, "missing"),
            (lambda s: s | {"decoder.conv_last_.1.bias": torch.zeros(9)}, r"is \(9,\), not \(24,"),
            (lambda s: {k: v for k, v in s.items() if "encoder" not in k}, "no encoder: give"),
            (lambda s: {"lr": 3}, "holds no named tensors but lr; give a state_dict"),
            (lambda s: [1, 2], "holds no named tensors; give a state_dict"),
        ],
        ids=["left over", "missing", "shape", "no encoder", "no tensors", "a list"],
    )
    def test_what_does_not_fit_is_named(self, pspnet, tmp_path, change, message):
        with pytest.raises(ModelError, match=message) as caught:
            pspnet(change)
        assert str(caught.value).startswith(f"{tmp_path / 'net.pth'}: ")
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "out.safetensors").exists()

    @pytest.mark.parametrize(
        ("wishes", "message"),
        [
            ({"labels": "camvid"}, "scores 124 classes, label set 'camvid' has 11; check --labels"),
            ({"settings": {"colour": 1}}, "no such setting colour"),
        ],
    )
    def test_wishes_that_do_not_fit(self, pspnet, wishes, message):
        with pytest.raises(ModelError, match=message):
            pspnet(**wishes)

    @pytest.mark.parametrize(
        ("wishes", "message"),
        [
            ({"source": "caffe"}, "--from 'caffe': unknown; use edgenets, semseg, vspw"),
            ({"arch": "espnetv2"}, "--arch 'espnetv2': not of vspw; use perframe, tcb-ppm"),
            ({"labels": None}, "--from vspw: needs the classes; add --labels"),
        ],
    )
    def test_usage(self, pspnet, wishes, message):
        with pytest.raises(UsageError, match=message):
            pspnet(**wishes)

    @pytest.mark.parametrize("content", [b"text", b"\0\0\0 ftypisom" + bytes(99)])
    def test_advice_of_torch_to_read_unsafely_is_kept_back(self, tmp_path, content):
        (tmp_path / "x.pth").write_bytes(content)
        with pytest.raises(ModelError) as refusal:
            read_tensors(tmp_path / "x.pth")
        assert "weights_only" not in str(refusal.value)
        assert "not readable weights (torch.save has not written it)" in str(refusal.value)

    def test_old_pickles_are_refused_without_a_warning(self, tmp_path, recwarn):
        (tmp_path / "x.pth").write_bytes(pickle.dumps({"x": Path}, protocol=4))
        with pytest.raises(ModelError, match="holds more than tensors"):
            read_tensors(tmp_path / "x.pth")
        assert not recwarn.list

    def test_a_pickle_is_never_run(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("unpickled",))

        torch.save({"state_dict": {"x": torch.zeros(1)}, "trap": Trap()}, tmp_path / "x.pth")
        with pytest.raises(ModelError, match="holds more than tensors"):
            read_tensors(tmp_path / "x.pth")

    def test_an_output_that_can_not_be_written(self, pspnet, tmp_path):
        (tmp_path / "out.safetensors").mkdir()
        with pytest.raises(OutputError, match=r"out.safetensors: is a directory, not a file"):
            pspnet()


# Place of each block of MobileNetV2 in torchvision -> stage and block in timm.
TIMM_BLOCKS = {
    1: (0, 0),
    **{2 + i: (1, i) for i in range(2)},
    **{4 + i: (2, i) for i in range(3)},
    **{7 + i: (3, i) for i in range(4)},
    **{11 + i: (4, i) for i in range(3)},
    **{14 + i: (5, i) for i in range(3)},
    17: (6, 0),
}


def timm_name(name: str) -> str:
    if name.startswith("features.0."):
        return name.replace("features.0.0", "conv_stem").replace("features.0.1", "bn1")
    place, part = re.fullmatch(r"features\.(\d+)\.conv\.(.+)", name).groups()
    stage, block = TIMM_BLOCKS[int(place)]
    order = ["conv_pw.", "bn1.", "conv_dw.", "bn2.", "conv_pwl.", "bn3."]
    parts = ["0.0.", "0.1.", "1.0.", "1.1.", "2.", "3."]
    if stage == 0:
        order, parts = ["conv_dw.", "bn1.", "conv_pw.", "bn2."], ["0.0.", "0.1.", "1.", "2."]
    index = next(i for i, prefix in enumerate(parts) if part.startswith(prefix))
    return f"blocks.{stage}.{block}.{order[index]}{part[len(parts[index]) :]}"


class TestStarts:
    @pytest.fixture
    def state(self):
        return waken(BACKBONES["mobilenetv2"]()).state_dict()

    def check(self, state, path, tmp_path, source, arch="mobilenetv2"):
        done = convert([path], tmp_path / "start.safetensors", source=source, arch=arch)
        found = read_tensors(done.path)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], state[name]) for name in state)
        return done

    def test_torchvision(self, state, tmp_path):
        more = {"classifier.1.weight": torch.zeros(2), "features.18.0.weight": torch.zeros(2)}
        torch.save(state | more, tmp_path / "x.pth")
        done = self.check(state, tmp_path / "x.pth", tmp_path, "torchvision")
        assert done.dropped == tuple(more)

    def test_timm(self, state, tmp_path):
        more = {"conv_head.weight": torch.zeros(2), "bn2.weight": torch.zeros(2)}
        torch.save({timm_name(name): t for name, t in state.items()} | more, tmp_path / "x.pth")
        self.check(state, tmp_path / "x.pth", tmp_path, "timm")

    def test_deep_stem(self, tmp_path):
        state = BACKBONES["resnet18-deep"]().state_dict()
        torch.save(state | {"fc.weight": torch.zeros(2)}, tmp_path / "x.pth")
        self.check(state, tmp_path / "x.pth", tmp_path, "deep-stem", "resnet18-deep")

    def test_another_backbone(self, state, tmp_path):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(ModelError, match=r"'features.0.0.weight' and \d+ more: no place"):
            self.check(state, tmp_path / "x.pth", tmp_path, "torchvision", "resnet50")

    @pytest.mark.parametrize("wrapper", ["state_dict", "model"])
    def test_training_starts_from_wrapped_and_from_timm_files(self, state, tmp_path, wrapper):
        from vidparse.training import read_start

        torch.save({wrapper: {f"module.{k}": v for k, v in state.items()}}, tmp_path / "x.pth")
        assert read_start(str(tmp_path / "x.pth")).tensors.keys() == state.keys()
        torch.save({timm_name(name): t for name, t in state.items()}, tmp_path / "y.pth")
        assert read_start(str(tmp_path / "y.pth")).tensors.keys() == state.keys()

    def test_training_does_not_start_from_nothing(self, tmp_path):
        from vidparse.training import read_start

        torch.save({"epoch": 3}, tmp_path / "x.pth")
        with pytest.raises(ModelError, match="holds no named tensors but epoch"):
            read_start(str(tmp_path / "x.pth"))


@pytest.fixture(scope="module")
def published() -> Path:
    """The folder of public checkpoints beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip("no public checkpoints beside the checkout")
    return folder


def classes_of(path: Path, rgb: np.ndarray) -> np.ndarray:
    """Class names (h, w) of a picture, at the resolution of the scores."""
    description = read_description(path)
    size_hw = network_size(rgb.shape[:2], description.preprocess.short_side)
    clip = torch.from_numpy(to_clip(Rgb(rgb), size_hw, description.preprocess))
    with torch.no_grad():
        ids = load_network(description).step(clip)[0].logits.argmax(1)[0]
    return np.array(description.labels.classes)[ids.numpy()]


class TestPublishedEspNet:
    """The authors' own files: every tensor has its place, and the classes are the right ones."""

    def test_cityscapes(self, published, tmp_path):
        data = published.parent / "data" / "camvid"
        if not data.is_dir():
            pytest.skip("no CamVid beside the checkout")
        done = convert(
            [published / "espnetv2_s_2.0_city_1024x512.pth"],
            tmp_path / "city.safetensors",
            source="edgenets",
            arch="espnetv2",
            labels="cityscapes",
        )
        assert (done.tensors, done.config["classes"]) == (526, 19)
        dataset = open_dataset("camvid", data, "val")
        frame = next(iter(labelled_frames(dataset)))
        rgb, mask = dataset.load_image(frame), dataset.load_mask(frame)
        found = classes_of(done.path, rgb)
        truth = cv2.resize(mask, found.shape[::-1], interpolation=cv2.INTER_NEAREST)
        twins = {"sky": 0, "building": 1, "road": 3, "vegetation": 5, "car": 8}
        for name, camvid in twins.items():
            assert (found[truth == camvid] == name).mean() > 0.8, name

    def test_voc(self, published, tmp_path, real_clips):
        done = convert(
            [published / "espnetv2_s_2.0_pascal_384x384.pth"],
            tmp_path / "voc.safetensors",
            source="edgenets",
            arch="espnetv2",
            labels="voc",
        )
        assert (done.tensors, done.config["classes"]) == (526, 21)
        rgb = next(iter(open_video(real_clips / "sam2_01_dog.mp4"))).image.rgb()
        found = classes_of(done.path, rgb)
        shares = {name: (found == name).mean() for name in ("background", "dog", "person")}
        assert sum(shares.values()) > 0.97
        assert shares["person"] > shares["dog"] > 0.01


class TestCommand:
    def test_the_output_lists_what_was_mapped(self, cli, pspnet, tmp_path):
        pspnet()
        arguments = ["convert", tmp_path / "net.pth", "--from", "vspw", "--arch", "perframe"]
        arguments += ["--labels", "vspw", "--short-side", "320", "--set", "output_stride=16"]
        ended = cli(*arguments, "-o", tmp_path / "a.safetensors")
        assert ended.code == 0, ended.err
        assert "decoder.conv_last_.0 -> head.fuse.0 (1 tensor)" in ended.lines
        description = read_description(tmp_path / "a.safetensors")
        assert description.config["output_stride"] == 16
        assert description.preprocess.short_side == 320
        ended = cli(*arguments, "-o", tmp_path / "b.safetensors", "--json")
        assert json.loads(ended.out)["config"]["backbone"] == "resnet18-deep"

    def test_every_source_is_named_in_the_help(self, cli):
        text = cli("convert", "--help").out.decode()
        assert all(name in text for name in SOURCES)

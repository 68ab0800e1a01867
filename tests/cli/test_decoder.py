"""`segment --decoder`, where no GPU is: it stays with the CPU, or names the reason."""

from __future__ import annotations

import pytest

from vidparse.video import open_video
from vidparse.video.container import ContainerSource
from vidparse.video.decode import Decoder


def test_the_gpu_that_is_not_in_use_decodes_nothing(cli, clip, tmp_path, colour_model) -> None:
    ended = cli(
        "segment", clip("x.mp4"), "-m", colour_model, "--decoder", "gpu", "-o", f"{tmp_path}/"
    )
    assert ended.code == 2
    assert ended.lines == ["vidparse: decoder gpu: the network runs on the CPU; use --decoder auto"]


@pytest.mark.parametrize("decoder", ["auto", "cpu"])
def test_all_else_is_the_cpu(cli, clip, tmp_path, colour_model, decoder) -> None:
    path = clip("x.mp4")
    ended = cli("segment", path, "-m", colour_model, "--decoder", decoder, "-o", f"{tmp_path}/")
    assert ended.code == 0 and "NVDEC" not in ended.err


def test_an_unknown_decoder(cli, clip) -> None:
    ended = cli("segment", clip("x.mp4"), "--decoder", "nvdec")
    assert ended.code == 2 and "auto, cpu, gpu" in ended.err


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"pixel_format": "yuv444p"}, "yuv444p is decoded on the CPU only"),
        ({"pixel_format": "yuv420p10le"}, "yuv420p10le is decoded on the CPU only"),
        ({"codec": "ffv1", "name": "x.mkv"}, "ffv1 is decoded on the CPU only"),
        (
            {"size_hw": (47, 63), "codec": "libvpx-vp9", "name": "x.mkv"},
            "pictures of odd size are decoded on the CPU only",
        ),
        ({"turn": 90}, "turned pictures are decoded on the CPU only"),
        ({}, "the GPU cannot decode it"),
    ],
    ids=["444", "10 bits", "codec", "odd", "turned", "no device"],
)
def test_reasons_why_a_device_does_not_decode(clip, monkeypatch, wishes, reason) -> None:
    """The frames are the CPU's then, from the first one on."""

    def no_device(index: int) -> None:
        raise RuntimeError("no CUDA device")

    monkeypatch.setattr("vidparse.video.nvdec.device_decoder", no_device)
    path = clip(wishes.pop("name", "x.mp4"), **wishes)
    with open_video(path, device=0) as source:
        assert isinstance(source, ContainerSource) and source.decoded_on == reason
        found = [frame.pts for frame in source]
    with open_video(path) as source:
        assert found == [frame.pts for frame in source]


def test_a_device_that_shows_the_margins_of_pictures_does_not_decode(clip, monkeypatch) -> None:
    """FFmpeg cuts off margins at the left and the top on the CPU alone."""
    made = []

    class Uncropped(Decoder):
        def __init__(self, stream, name, **how) -> None:
            super().__init__(stream, name, **how)
            made.append(self)

        def pictures(self, packet):
            found = super().pictures(packet)
            of_the_device = len(made) == 2
            return [one.reformat(72, 56) for one in found] if of_the_device else found

    monkeypatch.setattr("vidparse.video.nvdec.device_decoder", lambda index: None)
    monkeypatch.setattr("vidparse.video.playhead.Decoder", Uncropped)
    with open_video(clip("x.mp4", size_hw=(50, 66)), device=0) as source:
        assert source.decoded_on == "the GPU cannot decode it"
        assert {frame.image.size_hw for frame in source} == {(50, 66)} and not source.notes

"""Small untrained networks in the layout of the Hugging Face hub, with their processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import transformers

NAMES = ("wall", "sky", "bed ", "person", "car")
THINGS = frozenset({2, 3, 4})  # that the OneFormer checkpoint lists
_MASKS = {
    "encoder_feedforward_dim": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "dim_feedforward": 16,
    "num_queries": 12,
    "hidden_dim": 32,
}


def make_segformer(folder: Path, names: tuple[str, ...] = NAMES) -> None:
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 2],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **_named(names),
    )
    torch.manual_seed(3)
    network = transformers.SegformerForSemanticSegmentation(config)
    network.decode_head.classifier.weight.data.normal_(std=1)
    network.save_pretrained(folder)
    size = {"height": 64, "width": 96}
    transformers.SegformerImageProcessorPil(size=size).save_pretrained(folder)


def make_upernet(folder: Path) -> None:
    config = transformers.UperNetConfig(
        backbone_config=_swin(),
        hidden_size=16,
        pool_scales=[1, 2],
        use_auxiliary_head=False,
        **_named(NAMES),
    )
    torch.manual_seed(3)
    network = transformers.UperNetForSemanticSegmentation(config)
    network.decode_head.classifier.weight.data.normal_(std=1)
    network.save_pretrained(folder)
    transformers.SegformerImageProcessorPil(
        size={"shortest_edge": 64}, resample=3, do_rescale=False, image_mean=[100.0, 110.0, 120.0]
    ).save_pretrained(folder)


def make_maskformer(folder: Path) -> None:
    config = transformers.MaskFormerConfig(
        backbone_config=_swin(),
        fpn_feature_size=32,
        mask_feature_size=32,
        decoder_config=transformers.DetrConfig(
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            num_queries=12,
        ),
        **_named(NAMES),
    )
    torch.manual_seed(3)
    network = transformers.MaskFormerForInstanceSegmentation(config)
    _make_sure(network, network.class_predictor, network.mask_embedder.get_submodule("2.0"))
    network.save_pretrained(folder)
    size = {"shortest_edge": 96, "longest_edge": 120}
    transformers.MaskFormerImageProcessorPil(size=size, do_normalize=False).save_pretrained(folder)


def make_mask2former(folder: Path) -> None:
    config = transformers.Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, **_MASKS, **_named(NAMES)
    )
    torch.manual_seed(3)
    network = transformers.Mask2FormerForUniversalSegmentation(config)
    embedder = network.model.transformer_module.decoder.mask_predictor.mask_embedder
    _make_sure(network, network.class_predictor, embedder.get_submodule("2.0"))
    network.save_pretrained(folder)
    size = {"shortest_edge": 70, "longest_edge": 140}
    transformers.Mask2FormerImageProcessorPil(size=size).save_pretrained(folder)


def make_oneformer(folder: Path) -> None:
    """With a tokenizer like CLIP's that knows single letters, which is enough for a task."""
    config = transformers.OneFormerConfig(
        backbone_config=_swin(),
        num_classes=len(NAMES),
        conv_dim=32,
        mask_dim=32,
        query_dec_layers=1,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        is_training=False,
        **_MASKS,
        **_named(NAMES),
    )
    torch.manual_seed(3)
    network = transformers.OneFormerForUniversalSegmentation(config)
    decoder = network.model.transformer_module.decoder
    _make_sure(
        network,
        decoder.class_embed,
        decoder.mask_embed.get_submodule("layers.2.0"),
        task_inputs=torch.arange(77)[None] % 50,
    )
    network.save_pretrained(folder)
    things = {str(i): {"isthing": int(i in THINGS), "name": name} for i, name in enumerate(NAMES)}
    (folder / "classes.json").write_text(json.dumps(things))
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    transformers.OneFormerProcessor(
        transformers.OneFormerImageProcessorPil(
            size={"shortest_edge": 64, "longest_edge": 200},
            repo_path=str(folder),
            class_info_file="classes.json",
        ),
        transformers.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[]),
    ).save_pretrained(folder)


_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": 64,
    "patch_size": 8,
    "num_upscale_blocks": 1,
    "num_blocks": 2,
    "num_queries": 12,
    "num_register_tokens": 2,
}
_VIDEO_PROCESSOR = {  # as transformers writes it for VidEoMT
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "do_center_crop": False,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "do_sample_frames": False,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 64, "width": 64},
    "video_processor_type": "VideomtVideoProcessor",
}


def make_eomt(folder: Path, names: tuple[str, ...] = NAMES, *, splits: bool = False) -> None:
    """splits: pictures are cut along their long side, as for semantic segmentation."""
    config = transformers.EomtConfig(**_VIT, **_named(names))
    torch.manual_seed(3)
    network = transformers.EomtForUniversalSegmentation(config)
    network.attn_mask_probs.zero_()  # as at the end of training
    _make_vit_sure(network, pixel_values=torch.randn(1, 3, 64, 64))
    network.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": None if splits else 64}
    transformers.EomtImageProcessorPil(
        size=size, do_split_image=splits, do_pad=not splits
    ).save_pretrained(folder)


def make_eomt_dinov3(folder: Path) -> None:
    without_ratio = {key: value for key, value in _VIT.items() if key != "mlp_ratio"}
    config = transformers.EomtDinov3Config(intermediate_size=64, **without_ratio, **_named(NAMES))
    torch.manual_seed(3)
    network = transformers.EomtDinov3ForUniversalSegmentation(config)
    network.attn_mask_probs.zero_()
    _make_vit_sure(network, pixel_values=torch.randn(1, 3, 64, 64))
    network.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    transformers.EomtImageProcessorPil(size=size, do_pad=True).save_pretrained(folder)


def make_videomt(folder: Path, names: tuple[str, ...] = NAMES) -> None:
    config = transformers.VideomtConfig(**_VIT, **_named(names))
    torch.manual_seed(3)
    network = transformers.VideomtForUniversalSegmentation(config)
    network.query_updater.weight.data.normal_(std=0.01)
    network.query_updater.bias.data.normal_(std=0.1)  # no queries before are not queries of 0
    _make_vit_sure(network, pixel_values_videos=torch.randn(1, 1, 3, 64, 64))
    network.save_pretrained(folder)
    (folder / "video_preprocessor_config.json").write_text(json.dumps(_VIDEO_PROCESSOR))


def make_split_eomt(folder: Path) -> None:
    make_eomt(folder, splits=True)


MAKERS = {
    "segformer": make_segformer,
    "upernet": make_upernet,
    "maskformer": make_maskformer,
    "mask2former": make_mask2former,
    "oneformer": make_oneformer,
    "eomt": make_eomt,
    "eomt-semantic": make_split_eomt,
    "eomt-dinov3": make_eomt_dinov3,
    "videomt": make_videomt,
}


def processor_of(folder: Path) -> Any:
    """transformers' own, of a folder made here."""
    if not (folder / "processor_config.json").is_file():
        return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    facts = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    return transformers.OneFormerProcessor(
        transformers.OneFormerImageProcessorPil(**facts),
        transformers.CLIPTokenizer.from_pretrained(folder),
    )


def network_of(folder: Path) -> Any:
    """transformers' own, of a folder made here."""
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    return getattr(transformers, name).from_pretrained(folder).eval()


def _named(names: tuple[str, ...]) -> dict[str, Any]:
    return {"num_labels": len(names), "id2label": dict(enumerate(names))}


def _swin() -> Any:
    return transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _make_vit_sure(network: Any, **inputs: Any) -> None:
    """As _make_sure, for EoMT and VidEoMT."""
    for name, weights in network.named_parameters():
        if weights.dim() == 2 and name.startswith("layers"):
            weights.data.normal_(std=0.4)
    network.query.weight.data.normal_(std=4)
    _spread_out(network, ((network.mask_head.fc3, 2), (network.class_predictor, 8)), inputs)

    # Lower all masks alike, so that each is a small part of the picture.
    last, head = network.upscale_block.block[-1].layernorm2d, network.mask_head.fc3
    along = torch.nn.functional.normalize(torch.randn(head.out_features), dim=0)
    head.weight.data -= torch.outer(along, along @ head.weight.data)
    head.bias.data -= along * (along @ head.bias.data + 1)
    last.bias.data += along * (16 - along @ last.bias.data)


def _make_sure(network: Any, classes: Any, masks: Any, **inputs: Any) -> None:
    """Queries that are sure of what they see, each of something else, as trained ones are."""
    for name, weights in network.named_parameters():
        if weights.dim() == 2 and "transformer_module" in name:
            weights.data.normal_(std=4 if "quer" in name and "embed" in name else 0.4)
    pixels = torch.randn(1, 3, 8, 8).repeat_interleave(12, 2).repeat_interleave(16, 3)
    inputs = {"pixel_values": pixels, **inputs}
    _spread_out(network, ((masks, 12), (classes, 4)), inputs)


def _spread_out(network: Any, layers: Any, inputs: dict[str, Any]) -> None:
    """Scale what layers answer to these inputs to a spread around 0."""
    for layer, spread in layers:
        seen: list[Any] = []
        hook = layer.register_forward_hook(lambda *call, seen=seen: seen.append(call[-1]))
        with torch.inference_mode():
            network.eval()(**inputs)
        hook.remove()
        rows = seen[-1].reshape(-1, layer.out_features)  # (Q, F)
        factor = spread / float((rows - rows.mean(0)).std())
        layer.bias.data = (layer.bias.data - rows.mean(0)).mul(factor).clone()
        layer.weight.data *= factor


def picture(size_hw: tuple[int, int] = (150, 210), seed: int = 0) -> np.ndarray:
    """RGB uint8 (H, W, 3): soft blobs of every colour with some grain."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(blobs, size_hw[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)

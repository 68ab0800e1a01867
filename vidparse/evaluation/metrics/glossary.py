"""Score names as people write them, and what each says in a sentence."""

from __future__ import annotations

import re

_ENTRIES = {
    "miou": ("mIoU", "intersection over union, mean over the classes present in the ground truth"),
    "wiou": ("WIoU", "IoU weighted by the share of each class in the ground truth"),
    "pixel_accuracy": ("pixel accuracy", "share of labelled pixels that are right"),
    "mean_accuracy": ("class accuracy", "share of right pixels in each class, mean over classes"),
    "video_miou": ("mIoU, video mean", "mIoU of each video, mean over videos"),
    "video_wiou": ("WIoU, video mean", "WIoU of each video, mean over videos"),
    "tc": (
        "TC",
        "mIoU between a prediction and the next one warped back along the optical flow; what "
        "leaves the picture counts as class 0, as in the published code",
    ),
    "tc_per_video": ("TC, video mean", "TC of each video, mean over videos (equation 6 of VSPW)"),
    "boundary_iou": ("boundary IoU", "IoU of the inner boundary bands, 2 % of the diagonal wide"),
    "tc_boundary": (
        "TC of boundaries",
        "boundary IoU between a prediction and the next one warped back along the optical flow",
    ),
    "jf": ("J&F", "mean of region similarity J and contour accuracy F (DAVIS)"),
    "j_mean": ("J mean", "IoU of each object, mean over frames and objects (DAVIS)"),
    "j_recall": ("J recall", "share of frames whose J exceeds 1/2"),
    "j_decay": ("J decay", "J in the first quarter of a video minus J in the last"),
    "f_mean": ("F mean", "F-measure of object contours, mean over frames and objects (DAVIS)"),
    "f_recall": ("F recall", "share of frames whose F exceeds 1/2"),
    "f_decay": ("F decay", "F in the first quarter of a video minus F in the last"),
    "vpq": ("VPQ", "video panoptic quality, mean over window lengths"),
    "vpq_things": ("VPQ, things", "VPQ over the categories that are things"),
    "vpq_stuff": ("VPQ, stuff", "VPQ over the categories that are stuff"),
    "stq": ("STQ", "geometric mean of association and segmentation quality"),
    "aq": ("AQ", "association quality: how well the objects are followed"),
    "sq": ("SQ", "segmentation quality: mean IoU of classes"),
}  # fmt: skip


_VARIANTS = {
    "clean": "only what is marked as crowd is left out",
    "semi": "first and last frame left out",
}


def title(score: str) -> str:
    """`vc8` -> "VC8", `miou` -> "mIoU"; an unknown name stays as it is."""
    return _entry(score)[0]


def definition(score: str) -> str:
    """One sentence about a score, without its full stop; empty for an unknown name."""
    return _entry(score)[1]


def _entry(score: str) -> tuple[str, str]:
    if score in _ENTRIES:
        return _ENTRIES[score]
    name, _, suffix = score.rpartition("_")
    if name in _ENTRIES and suffix in _VARIANTS:
        words, meaning = _ENTRIES[name]
        return f"{words}, {suffix}", f"{meaning}; {_VARIANTS[suffix]}"
    clip = re.fullmatch(r"vc(\d+)(_strict)?", score)
    if clip:
        still = f"of the pixels whose truth is the same through {clip[1]} frames, the share whose"
        if clip[2]:
            return f"VC{clip[1]} strict", f"{still} prediction is the same, too, and right"
        return f"VC{clip[1]}", f"{still} prediction is the same, too"
    window = re.fullmatch(r"vpq_k(\d+)", score)
    if window:
        return f"VPQ, k = {window[1]}", f"panoptic quality of tubes of {window[1]} frames"
    return score, ""

"""Weights that a run starts from go by the names of tensors, and scores by those of classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.made_camvid import make_camvid, trainer
from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.zoo import build
from vidparse.training.weights import Start, class_rows, load_matching


def labels_of(classes: tuple[str, ...]) -> Labels:
    return Labels("made", classes, ((0, 0, 0),) * len(classes), frozenset())


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


def test_start_weights_match_by_name(camvid: Path, tmp_path: Path) -> None:
    network = trainer(camvid, tmp_path).learner.network
    name = "features.0.0.weight"
    wanted = torch.full_like(network.state_dict()[f"backbone.{name}"], 0.25)
    start = Start("given", {name: wanted, "classifier.1.bias": torch.ones(1000)})
    assert load_matching(network, start).tensors == 1
    assert torch.equal(network.state_dict()[f"backbone.{name}"], wanted)
    with pytest.raises(UsageError, match="no tensor"):
        load_matching(network, Start("given", {"nothing": wanted}))


@pytest.mark.parametrize(
    ("arch", "config"),
    [
        ("perframe", {"output_stride": 16, "width": 16}),
        ("tcb-ocr", {"output_stride": 16, "width": 16, "key_width": 8}),
        ("espnetv2", {"width": 0.5, "pyramid_width": 5}),
    ],
)
def test_weights_of_a_backbone_alone_fit_each_networks_own(
    arch: str, config: dict[str, object]
) -> None:
    """Not every network calls its backbone `backbone`."""
    given, network = (build(arch, {"classes": 3, **config}) for _ in range(2))
    alone = given.get_submodule(given.backbone_name).state_dict()
    alone = {name: torch.full_like(tensor, 0.25) for name, tensor in alone.items()}
    assert load_matching(network, Start("given", alone)).tensors == len(alone)
    taken = network.get_submodule(network.backbone_name).state_dict()
    assert all(torch.equal(taken[name], tensor.to(taken[name])) for name, tensor in alone.items())


def test_a_network_without_a_backbone_of_its_own_takes_whole_names_alone() -> None:
    given, network = (build("bisenetv2", {"classes": 3}) for _ in range(2))
    assert not network.backbone_name
    own = given.state_dict()
    assert load_matching(network, Start("given", own)).tensors == len(own)
    cut = {name.partition(".")[2]: tensor for name, tensor in own.items()}
    with pytest.raises(UsageError, match="no tensor"):
        load_matching(network, Start("given", cut))


NETWORKS = {
    "psp": (
        "perframe",
        {"output_stride": 16, "width": 16, "skip_channels": 8},
    ),
    "ocr, four scores a place": (
        "perframe",
        {"output_stride": 16, "width": 16, "skip_channels": 8, "finest": 2}
        | {"head": "ocr", "key_width": 8},
    ),
    "espnetv2": ("espnetv2", {"width": 0.5, "pyramid_width": 5}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_classes_of_equal_names_keep_their_scores(name: str) -> None:
    """Not so their numbers: cat is 1 in one data set and 2 in the other."""
    arch, config = NETWORKS[name]
    theirs, mine = ("sky", "cat", "road", "dog"), ("tree", "dog", "Cat")
    given, network = (build(arch, {**config, "classes": len(k)}).eval() for k in (theirs, mine))
    fresh = {key: value.clone() for key, value in network.state_dict().items()}
    rows = class_rows(arch, config, labels_of(mine))
    start = Start("given", given.state_dict(), theirs)
    taken = load_matching(network, start, mine, rows)
    assert (taken.carried, taken.fresh) == (("dog", "Cat"), ("tree",))
    assert taken.tensors == taken.of
    assert "the scores of dog, Cat are kept, those of tree begin anew" in str(taken)
    assert rows
    now, then = network.state_dict(), given.state_dict()
    for key, tensor in now.items():
        if key not in rows:
            assert torch.equal(tensor, then[key]), key
            continue
        by_class, before = (one.unflatten(0, (-1, rows[key])) for one in (tensor, then[key]))
        assert torch.equal(by_class[1], before[3]) and torch.equal(by_class[2], before[1]), key
        assert torch.equal(by_class[0], fresh[key].unflatten(0, (-1, rows[key]))[0]), key
    if "ocr" in name:
        return  # whose regions are of all classes
    with torch.no_grad():
        clip = torch.randn(1, 1, 3, 64, 64)
        ours, before = (one(clip)[0].logits[:, 0] for one in (network, given))
    assert torch.allclose(ours[:, 1:], before[:, [3, 1]], atol=1e-5)


def test_as_many_classes_of_other_names_are_other_classes() -> None:
    arch, config = NETWORKS["psp"]
    given, network = (build(arch, {**config, "classes": 3}) for _ in range(2))
    rows = class_rows(arch, config, labels_of(("x", "y", "z")))
    start = Start("given", given.state_dict(), ("a", "b", "c"))
    taken = load_matching(network, start, ("x", "y", "z"), rows)
    assert taken.fresh == ("x", "y", "z") and "the scores of all classes begin anew" in str(taken)
    weights = (one.state_dict()["head.classifier.weight"] for one in (network, given))
    assert not torch.equal(*weights)
    assert load_matching(network, start, ("a", "b", "c"), rows).fresh == ()
    weights = (one.state_dict()["head.classifier.weight"] for one in (network, given))
    assert torch.equal(*weights)

"""Shares of gradients: right on a toy, logged at intervals, and without a trace in the weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from support.made_camvid import make_camvid, trainer
from vidparse.training.gradients import gradient_shares


def toy() -> tuple[list[nn.Parameter], dict[str, torch.Tensor]]:
    """Gradients (3, 4) on one weight and 12 on another: length 13; 1.3, 0 and 26 of the others."""
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    beside = nn.Parameter(torch.ones(1))  # trained, and no part of the network
    terms = {
        "ce": (one * torch.tensor([3.0, 4.0])).sum() + 12 * other.sum(),
        "tl": 0.1 * 13 * other.sum(),
        "helper": 99 * beside.sum(),
        "pf": 26 * one[1] + beside.sum(),
        "given": torch.tensor(5.0),
    }
    return [one, other], terms


@pytest.mark.parametrize("scale", [1.0, 4096.0])
def test_shares_are_lengths_of_gradients_beside_that_of_cross_entropy(scale: float) -> None:
    parameters, terms = toy()
    shares = gradient_shares(terms, parameters, scale=scale)
    assert shares == pytest.approx({"tl": 0.1, "helper": 0.0, "pf": 2.0, "given": 0.0})
    assert all(one.grad is None for one in parameters)
    torch.stack(list(terms.values())).sum().backward()  # the graph is still there
    assert parameters[0].grad is not None and parameters[0].grad.tolist() == [3, 30]


def test_nothing_is_measured_where_there_is_nothing_to_compare() -> None:
    parameters, terms = toy()
    assert gradient_shares({"ce": terms["ce"]}, parameters) == {}
    assert gradient_shares({"tl": terms["tl"], "pf": terms["pf"]}, parameters) == {}
    silent = gradient_shares({"ce": 0 * terms["ce"], "tl": terms["tl"]}, parameters)
    assert silent.keys() == {"tl"} and math.isnan(silent["tl"])


def test_a_run_logs_shares_and_learns_as_without(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    camvid = make_camvid(tmp_path / "data")
    weights = {}
    for every in (0, 4):
        fields = {"objective": "etc", "neighbours": "simulated", "validate_every": 9}
        fields |= {"pair_weight": 0.0, "motion_weight": 0.0, "temporal_weight": 3.0}
        run = trainer(camvid, tmp_path / str(every), shares_every=every, **fields)
        seen = []
        run.fit(lambda _, run=run, seen=seen: seen.append(run.learner.shares))
        weights[every] = run.learner.network.state_dict()
        looked = [step for step, shares in enumerate(seen) if shares]
        assert looked == ([0, 4] if every else [])
        lines = (tmp_path / str(every) / "log.jsonl").read_text().splitlines()
        shares = [json.loads(line)["shares"] for line in lines if '"shares"' in line]
        assert len(shares) == (1 if every else 0)  # a line of six steps
        if every:
            assert shares[0].keys() == {"auxiliary", "tl"}
            mean = sum(one["tl"] for one in (seen[0], seen[4])) / 2
            assert shares[0]["tl"] == pytest.approx(mean, rel=1e-4) and mean > 0
    assert all(torch.equal(one, weights[4][name]) for name, one in weights[0].items())

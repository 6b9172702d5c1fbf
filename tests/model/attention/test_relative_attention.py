"""The node of CPUs against plain operations, and its gradients against differences."""

import pytest
import torch
from torch.testing import assert_close

from src.model.attention import ragged_layout, relative_attention
from src.model.attention.ragged_layout import RaggedLayout
from src.model.attention.relative_positions import RelativePositions

HEADS, WIDTH = 2, 3
LAYOUTS = {"packed": ([4, 2, 5, 1], 6), "alike": ([4, 4], 0), "buckets": ([5, 4, 2, 1], 0)}


@pytest.fixture(params=LAYOUTS)
def layout(request, laid, monkeypatch):
    """With few scores at a time, so that heads and rows are cut; rows are not filled up."""
    monkeypatch.setattr(ragged_layout, "_BUCKET_COST", 6)
    monkeypatch.setattr(ragged_layout, "ROW_LENGTH_MULTIPLE", 1)
    monkeypatch.setattr(relative_attention, "_SCORES", 30)
    lengths, row = LAYOUTS[request.param]
    found = RaggedLayout(laid(lengths, row=row))
    assert len(found.buckets) == (3 if request.param == "buckets" else 1)
    return found


def draw(layout, *kinds):
    """Queries, keys and values, and the tables of these kinds, in fp64."""
    length = layout.longest_row
    shapes = {
        "keys": (HEADS, 2 * length, WIDTH),
        "queries": (HEADS, 2 * length, WIDTH),
        "bias": (HEADS, length, length),
    }
    make = lambda *shape: torch.randn(shape, dtype=torch.float64, requires_grad=True)
    qkv = make(len(layout.tokens.ids), 3, HEADS, WIDTH)
    tables = {kind: make(*shapes[kind]) for kind in kinds}
    if "bias" in tables:
        # the same for pairs of one distance
        places = torch.arange(length)
        distances = (places[:, None] - places) / length
        tables["bias"].data = (distances**3).expand(HEADS, -1, -1).double().contiguous()
    return qkv, RelativePositions(**tables)


KINDS = [("keys", "queries"), ("keys",), ("queries",), ("bias",)]


@pytest.mark.parametrize("kinds", KINDS, ids=" and ".join)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_differences(kinds, dropout, layout):
    """Of what is multiplied, and of the distances; the same is dropped each time."""
    qkv, relative = draw(layout, *kinds)

    def run(qkv, *tables):
        torch.manual_seed(5)
        own = RelativePositions(**dict(zip(kinds, tables, strict=True)))
        return relative_attention.relative_attention(qkv, layout, own, scale=0.6, dropout=dropout)

    tables = [table for table in relative if table is not None]
    assert torch.autograd.gradcheck(run, (qkv, *tables))


@pytest.mark.parametrize("kinds", KINDS, ids=" and ".join)
def test_every_pair_by_hand(kinds, layout):
    """score(i, j) = s q(i) k(j) + s q(i) keys(i - j) + s k(j) queries(i - j) + bias(i, j)."""
    qkv, relative = draw(layout, *kinds)
    longest, scale = layout.longest_row, 0.6
    expected = []
    for one in qkv.detach().split(layout.tokens.cu_seqlens.diff().tolist()):
        query, key, value = one.unbind(1)
        places = torch.arange(len(one))
        distance = places[:, None] - places
        scores = torch.einsum("ihe,jhe->hij", query, key)
        if relative.keys is not None:
            rows = relative.keys[:, longest - 1 - distance]
            scores = scores + torch.einsum("ihe,hije->hij", query, rows)
        if relative.queries is not None:
            rows = relative.queries[:, longest - 1 + distance]
            scores = scores + torch.einsum("jhe,hije->hij", key, rows)
        scores = scores * scale
        if relative.bias is not None:
            scores = scores + relative.bias[:, : len(one), : len(one)]
        expected.append(torch.einsum("hij,jhe->ihe", scores.softmax(-1), value))
    found = relative_attention.relative_attention(qkv, layout, relative, scale=scale)
    assert_close(found, torch.cat(expected))

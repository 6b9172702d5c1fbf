"""Attention in blocks gives what attention over all scores at once gives, in less memory."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from src.core.batch import Tokens, build_tokens
from src.model.attention import attention_blocks, cpu_attention, ragged_attention
from src.model.attention.attention_blocks import AttentionBlocks
from src.model.attention.attention_bucket import Bucket
from src.model.attention.ragged_layout import RaggedLayout

HEADS, WIDTH, SCALE = 3, 8, 0.4
# lengths and row of a batch (0: rows are not packed)
LAYOUTS = {
    "one text": ([300], 0),
    "alike": ([130, 130], 0),
    "uneven": ([200, 190, 33, 30, 1], 0),
    "packed": ([100, 3, 60, 1, 36, 200, 7, 193], 200),
}
# one, fewer than a block, more than a block, more than a row
WINDOWS = [None, 1, 5, 40, 1000]


@pytest.fixture(params=LAYOUTS)
def tokens(request) -> Tokens:
    lengths, row = LAYOUTS[request.param]
    return build_tokens(
        torch.zeros(sum(lengths), dtype=torch.int64), torch.tensor(lengths), None, row
    )


@pytest.fixture
def choose(monkeypatch):
    """Set whether all attention is in blocks, which are small."""
    monkeypatch.setattr(attention_blocks, "_LOCAL_QUERIES", 16)
    monkeypatch.setattr(attention_blocks, "_GLOBAL_QUERIES", 32)
    monkeypatch.setattr(attention_blocks, "_SCORES", 4096)
    monkeypatch.setattr(attention_blocks, "_KEYS_MULTIPLE", 4)

    def set_way(in_blocks: bool, *, keeps_weights: bool = False) -> None:
        monkeypatch.setattr(cpu_attention, "keep_weights", lambda *_: keeps_weights)
        for module in (cpu_attention, ragged_attention):
            monkeypatch.setattr(module, "prefer_blocks", lambda *_, **__: in_blocks)

    return set_way


def draw(tokens: Tokens, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Queries, keys and values of the tokens and some that a batch is filled up with, and a
    gradient of the answers.
    """
    generator, total = torch.Generator().manual_seed(3), len(tokens.ids) + 5
    qkv = torch.randn(total, 3, HEADS, WIDTH, generator=generator)
    gradient = torch.randn(total, HEADS, WIDTH, generator=generator)
    return qkv.to(dtype).requires_grad_(), gradient.to(dtype)


def draw_rotation(tokens: Tokens) -> tuple[Tensor, Tensor]:
    angles = torch.rand(len(tokens.ids), WIDTH // 2, generator=torch.Generator().manual_seed(4))
    return angles.cos(), angles.sin()


def attend(tokens: Tokens, dtype: torch.dtype = torch.float32, **how) -> tuple[Tensor, Tensor]:
    """The answers and the gradient of what was asked."""
    qkv, gradient = draw(tokens, dtype)
    answer = ragged_attention.ragged_attention(qkv, RaggedLayout(tokens), scale=SCALE, **how)
    answer.backward(gradient)
    assert qkv.grad is not None
    return answer.detach(), qkv.grad


@pytest.mark.parametrize("keeps_weights", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_answers_and_gradients_equal_those_of_all_scores_at_once(
    tokens, window, keeps_weights, choose
):
    how = {"window": window, "rotation": draw_rotation(tokens)}
    choose(False)
    answer, gradient = attend(tokens, **how)
    choose(True, keeps_weights=keeps_weights)
    own_answer, own_gradient = attend(tokens, **how)
    assert_close(own_answer, answer, atol=1e-6, rtol=1e-5)
    assert_close(own_gradient, gradient, atol=2e-6, rtol=1e-5)
    # the tokens that a batch was filled up with
    assert not own_answer[-5:].any() and not own_gradient[-5:].any()


@pytest.mark.parametrize("window", [None, 5])
def test_bf16_is_as_close_to_fp32_as_all_scores_at_once(tokens, window, choose):
    choose(False)
    expected = attend(tokens, window=window)
    whole = attend(tokens, torch.bfloat16, window=window)
    choose(True)
    own = attend(tokens, torch.bfloat16, window=window)
    for exact, usual, mine in zip(expected, whole, own, strict=True):
        errors = [(found.float() - exact).norm() / exact.norm() for found in (usual, mine)]
        assert errors[1] < 1.05 * errors[0] < 0.02


@pytest.mark.parametrize("window", [None, 5])
def test_without_a_backward_pass_the_answers_are_the_same(tokens, window, choose):
    choose(True)
    qkv, _ = draw(tokens)
    layout = RaggedLayout(tokens)
    answer, _ = attend(tokens, window=window)
    with torch.no_grad():
        alone = ragged_attention.ragged_attention(qkv, layout, scale=SCALE, window=window)
    assert torch.equal(alone, answer)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", ["one text", "alike", "packed"])
def test_selected_tokens_get_what_all_get(name, window, choose):
    lengths, row = LAYOUTS[name]
    ids = torch.zeros(sum(lengths), dtype=torch.int64)
    tokens = build_tokens(ids, torch.tensor(lengths), None, row)
    layout = RaggedLayout(tokens)
    rows, length = layout.buckets[0].num_rows, layout.buckets[0].row_length
    generator = torch.Generator().manual_seed(5)
    # in order in the first row, in blocks that begin and end alike and differ between
    places = [torch.randperm(length, generator=generator)[:64] for _ in range(rows)]
    places[0] = torch.arange(0, 128, 2)
    places[0][1:15] = torch.arange(1, 15)
    places[0][17:31] = torch.arange(33, 61, 2)
    at = torch.cat([place + number * length for number, place in enumerate(places)])
    positions = layout.find_row_positions(at)
    assert positions is not None
    how = {"scale": SCALE, "window": window, "rotation": draw_rotation(tokens)}
    results = []
    for in_blocks in (False, True):
        choose(in_blocks)
        qkv, gradient = draw(tokens)
        cos, sin = (part[at, None] for part in how["rotation"])
        answer = ragged_attention.ragged_attention_of_selected(
            ragged_attention.apply_rotary(qkv[at, 0], cos, sin),
            qkv[:, 1:],
            positions,
            layout,
            **how,
        )
        answer.backward(gradient[at])
        results.append((answer, qkv.grad))
    for whole, own in zip(*results, strict=True):
        assert_close(own, whole, atol=2e-6, rtol=1e-5)
    choose(True)
    everywhere = ragged_attention.ragged_attention(draw(tokens)[0], layout, **how)
    assert_close(results[1][0], everywhere[at], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("keeps_weights", [False, True])
@pytest.mark.parametrize("window", [None, 5])
def test_the_gradient_is_that_of_what_was_dropped(window, keeps_weights, choose):
    """Against differences, in float64: the backward pass drops what the forward pass dropped."""
    choose(True, keeps_weights=keeps_weights)
    tokens = build_tokens(torch.zeros(61, dtype=torch.int64), torch.tensor([40, 21]))
    layout = RaggedLayout(tokens)

    def run(qkv: Tensor) -> Tensor:
        torch.manual_seed(7)
        return ragged_attention.ragged_attention(
            qkv, layout, scale=SCALE, dropout=0.3, window=window
        )

    qkv = torch.randn(61, 3, 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, qkv, fast_mode=True)


def test_dropout_drops_its_share_and_keeps_the_mean(choose):
    """Of values that are all 1, an answer is the kept weight, scaled."""
    choose(True)
    tokens = build_tokens(torch.zeros(640, dtype=torch.int64), torch.tensor([320, 320]))
    qkv = torch.zeros(640, 3, HEADS, WIDTH)
    qkv[:, 2] = 1
    layout = RaggedLayout(tokens)
    torch.manual_seed(1)
    answers = ragged_attention.ragged_attention(qkv, layout, scale=SCALE, dropout=0.25)[..., 0]
    # 614,400 weights of 1 / 320, each kept with a chance of 3 / 4
    assert abs(float(answers.mean()) - 1) < 0.005
    expected = (0.25 / 0.75 / 320) ** 0.5
    assert abs(float(answers.std()) / expected - 1) < 0.1
    torch.manual_seed(1)
    again = ragged_attention.ragged_attention(qkv, layout, scale=SCALE, dropout=0.25)[..., 0]
    other = ragged_attention.ragged_attention(qkv, layout, scale=SCALE, dropout=0.25)[..., 0]
    assert torch.equal(again, answers) and not torch.equal(other, answers)


def count_saved_bytes(length: int, window: int | None, dropout: float) -> int:
    tokens = build_tokens(torch.zeros(length, dtype=torch.int64), torch.tensor([length]))
    qkv, sizes = draw(tokens)[0], []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.itemsize)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ragged_attention.ragged_attention(
            qkv, RaggedLayout(tokens), scale=SCALE, dropout=dropout, window=window
        )
    return sum(sizes)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("window", [None, 5])
def test_what_is_kept_for_the_backward_pass_grows_with_the_length(window, dropout, choose):
    # those of local layers, kept, too
    choose(True, keeps_weights=window is not None)
    one, two, four = (count_saved_bytes(length, window, dropout) for length in (160, 320, 640))
    # the blocks at a border have fewer keys
    assert two < 2.05 * one and four < 2.05 * two
    choose(False)
    one, two = (count_saved_bytes(length, window, dropout) for length in (160, 320))
    assert two > 3 * one


def test_scores_of_a_block_are_few_whatever_the_length(choose):
    """And a local layer has as many for each token as its window says."""
    choose(True)
    for length in (200, 400):
        bucket = Bucket(0, 2 * length, 2, length, None)
        for window in (None, 5):
            scores = []
            for block in AttentionBlocks(bucket, window, torch.float32):
                rows, queries, keys = (part.stop - part.start for part in block[:3])
                scores.append(rows * queries * keys)
                assert scores[-1] * block.heads <= max(4096, queries * keys)
            if window is not None:
                assert sum(scores) <= 2 * length * (16 + 2 * (window - 1) + 2 * 4)


def test_a_packed_row_leaves_out_the_sequences_beside(choose):
    choose(True)
    sequences = torch.tensor([[0] * 64 + [1] * 36 + [2] * 100])
    bucket = Bucket(0, 200, 1, 200, None, sequences=sequences)
    found = [
        (block.queries.start, block.keys.start, block.keys.stop)
        for block in AttentionBlocks(bucket, None, torch.float32)
    ]
    assert found[:5] == [(0, 0, 64), (32, 0, 64), (64, 64, 100), (96, 64, 200), (128, 100, 200)]


def test_short_rows_are_computed_at_once():
    """16 texts of 512 tokens as before, and one of 2,048; longer ones, and local layers from 768
    on, in blocks.
    """

    def chosen(rows: int, length: int, window: int | None, *, training: bool = True) -> bool:
        query = torch.empty(rows, 4, length, 64, dtype=torch.bfloat16, device="meta")
        bucket = Bucket(0, rows * length, rows, length, None)
        return attention_blocks.prefer_blocks(bucket, window, query, has_backward=training)

    assert not chosen(16, 512, None) and not chosen(1, 1024, None) and not chosen(64, 256, 65)
    assert not chosen(1, 2048, None)
    assert chosen(1, 4096, None) and chosen(1, 768, 65) and chosen(16, 512, 65)
    [short, long] = (torch.empty(1, 4, length, 64, device="meta") for length in (2048, 2064))
    assert attention_blocks.keep_weights(Bucket(0, 2048, 1, 2048, None), short)
    assert not attention_blocks.keep_weights(Bucket(0, 2064, 1, 2064, None), long)
    assert not chosen(1, 128, None, training=False) and chosen(1, 256, None, training=False)

"""A training that goes on from a checkpoint is the one that never stopped: weights and all that is
logged, bit for bit.

One training writes a checkpoint at each of its borders; from some of them others go on, with new
objects throughout.
"""

from pathlib import Path

import pytest
import torch

from src.training.checkpoint_files import parse_checkpoint_step
from tests.training.small_trainings import (
    DENOISING,
    LABELLED,
    MASKED,
    TAGGED,
    Compose,
    assert_goes_on,
    begun_at,
    same,
    train,
)

CASES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "masked, validated after each third step": (
        (
            *MASKED,
            "trainer.max_epochs=2",
            "trainer.val_check_steps=3",
            "data.batching.batch_size=5",
        ),
        # 10: an epoch ends without a validation
        (2, 9, 10, 20),
    ),
    "masked, steps of 3 batches and of what is left of an epoch, limited by steps, other "
    "optimizer": (
        (
            *MASKED,
            "trainer.max_epochs=null",
            "trainer.max_steps=11",
            "trainer.val_check_steps=2",
            "trainer.accumulate_grad_batches=3",
            "data.batching.warmup_batches=6",
            "data.batching.batch_size=5",
            "model/optim=muon",
        ),
        (3, 4, 6),
    ),
    "spans, fewer of them in later steps, two batches in a step": (
        (
            *MASKED,
            "trainer.max_epochs=2",
            "trainer.accumulate_grad_batches=2",
            "data.batching.batch_size=5",
            "data.batching.mask_unit=span",
            "data.batching.mask_fraction=0.4",
            "data.batching.mask_fraction_end=0.1",
        ),
        (2, 7),
    ),
    "labelled, validated after each epoch": (LABELLED, (2, 6, 7)),
    "labelled, shorter texts first, two batches in a step": (
        (
            *LABELLED,
            "trainer.accumulate_grad_batches=2",
            "data.batching.length_warmup_tokens=8",
            "data.batching.length_warmup_fraction=0.6",
        ),
        (1, 3),
    ),
    "noised texts, written by a BART": (DENOISING, (2, 7)),
    "noised texts, written by a T5, two batches in a step": (
        (*DENOISING, "model/encoder=t5_tiny", "trainer.accumulate_grad_batches=2"),
        (2, 3),
    ),
    "tagged words": ((*TAGGED, "trainer.val_check_steps=3"), (2, 6)),
    "labelled, steps of 4 batches, 2 workers, a dry run": (
        (
            *LABELLED,
            "trainer.accumulate_grad_batches=4",
            "data.num_workers=2",
            "trainer.limit_batches=5",
        ),
        (2, 3),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_goes_on_bit_for_bit(case: str, composed: Compose, tmp_path: Path) -> None:
    overrides, steps = CASES[case]
    config = composed(*overrides, f"data.cache={tmp_path}/cache")
    whole = train(config, tmp_path / "whole", keep=2)
    last = whole.trainer.global_step
    assert sorted(parse_checkpoint_step(each) for each in (tmp_path / "whole").iterdir()) == [
        *range(1, last + 1)
    ]
    plain = train(config, tmp_path / "plain", every_steps=None)
    # to write checkpoints changes nothing
    assert same(whole.module.state_dict(), plain.module.state_dict())
    assert plain.points.points == whole.points.points
    for step in steps:
        folder = tmp_path / f"from {step}"
        rest = train(config, folder, begin=begun_at(tmp_path / "whole", folder, step), keep=2)
        assert_goes_on(whole, rest, logged=step)


def test_adapters_go_on_bit_for_bit_from_small_checkpoints(
    composed: Compose, tmp_path: Path
) -> None:
    """Without the frozen weights, which are read again from where they were."""
    scratch = train(composed(*LABELLED, f"data.cache={tmp_path}/cache"), tmp_path / "scratch")
    scratch.module.encoder.save_pretrained(tmp_path / "base")
    sized = [each for each in LABELLED if not each.startswith("model.encoder")]
    overrides = (
        *sized,
        "model/encoder=pretrained",
        f"model.encoder.name_or_path={tmp_path}/base",
        "model/adapter=lora",
        "model.adapter.dropout=0.3",
        "model.adapter.rank=2",
        f"data.cache={tmp_path}/cache",
    )
    config = composed(*(each for each in overrides if each != "model/encoder=tiny"))
    whole = train(config, tmp_path / "whole", keep=2)
    folder = tmp_path / "from 3"
    begin = begun_at(tmp_path / "whole", folder, 3)
    state = torch.load(begin, weights_only=True)["state_dict"]
    frozen = {name for name, weight in whole.module.named_parameters() if not weight.requires_grad}
    assert state.keys() == whole.module.state_dict().keys() - frozen and len(frozen) > 15
    rest = train(config, folder, begin=begin, keep=2)
    assert_goes_on(whole, rest, logged=3)
    body = [dict(each.module.encoder.named_parameters()) for each in (scratch, whole)]
    name = "network.bert.embeddings.word_embeddings.weight"
    assert torch.equal(body[0][name], body[1][name])


ON_GPU = {
    "labelled": (*LABELLED, "trainer.compile=false"),
    "masked": (
        *MASKED,
        "trainer.compile=false",
        "trainer.max_epochs=2",
        "trainer.accumulate_grad_batches=3",
    ),
    "masked, as CUDA graphs": (
        *MASKED,
        "trainer.compile=true",
        "trainer.max_epochs=2",
        "trainer.val_check_steps=3",
    ),
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("arithmetic", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("case", ON_GPU)
def test_goes_on_bit_for_bit_on_a_gpu(
    case: str, arithmetic: str, composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With deterministic operations; the corpus is on the device, and what was compiled is from the
    first step on.
    """
    # what deterministic products ask for
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    places = (
        "trainer=gpu",
        "trainer.threads=null",
        "trainer.deterministic=true",
        f"data.cache={tmp_path}/cache",
    )
    config = composed(*ON_GPU[case], *places)
    whole = train(config, tmp_path / "whole", precision=arithmetic)
    for step in (2, 5):
        folder = tmp_path / f"from {step}"
        rest = train(
            config, folder, begin=begun_at(tmp_path / "whole", folder, step), precision=arithmetic
        )
        assert_goes_on(whole, rest, logged=step)

"""Whether the losses agree: same weights, same batch, no dropout; our training step against
transformers' own loss.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.setting import ROOT

# absolute, in nats
ALLOWED = {"fp32": 1e-3, "bf16": 2e-2}


class Agreement(NamedTuple):
    """How far the losses lie apart, in nats."""

    fp32: float
    bf16: float

    @property
    def holds(self) -> bool:
        return all(getattr(self, name) <= limit for name, limit in ALLOWED.items())

    def __str__(self) -> str:
        return f"{'yes' if self.holds else '**no**'} ({self.fp32:.0e} fp32, {self.bf16:.0e} bf16)"


def agreement(spec: Mapping[str, Any]) -> Agreement:
    """Measured in a process of its own, which holds both models."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.agreement", json.dumps(spec)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    return Agreement(*json.loads(done.stdout.splitlines()[-1]))


def measure(spec: Mapping[str, Any]) -> Agreement:
    """The first training batch of `spec` through both."""
    import torch

    from benchmarks import ours, peers

    without = {**spec, "overrides": [*spec["overrides"], "model.encoder.dropout=0.0"]}
    data, module, _ = ours.parts(without)
    theirs = peers.model({"attention": "sdpa", **spec, "dropout": 0.0}).train()
    if spec["task"] != "masked_lm":
        _share_head(module.encoder.network, theirs)
    module.train()
    batch = next(iter(data.train_dataloader()))
    apart = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            own = module.objective.forward(module.encoder, batch).loss
            other = theirs(
                **(_rows(batch, theirs.config) if spec["task"] == "masked_lm" else _texts(batch))
            ).loss
        apart.append(abs(float(own) - float(other)))
    return Agreement(*apart)


def _share_head(ours: Any, theirs: Any) -> None:
    """A classifier's head is fresh in both: make it one whose loss depends on the encoder, and give
    it to the other.
    """
    import torch

    torch.nn.init.normal_(ours.classifier.weight, std=0.1)
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not missing and not unexpected, (missing, unexpected)


def _rows(batch: Any, config: Any) -> dict[str, Any]:
    """A batch of packed rows for transformers: a mask [R, 1, L, L] keeps the documents of a row
    apart.
    """
    import torch

    tokens = batch.tokens
    shape = (-1, tokens.row_tokens)
    document = torch.repeat_interleave(
        torch.arange(tokens.num_sequences), tokens.cu_seqlens.diff().long()
    ).view(shape)
    labels = torch.full_like(tokens.ids, -100)
    labels[batch.masked_positions] = batch.targets
    mask: Any = document[:, None, :, None] == document[:, None, None, :]
    # ModernBERT takes the masks of both its kinds of layers
    if hasattr(config, "sliding_window"):
        place = torch.arange(tokens.row_tokens)
        near = (place[:, None] - place).abs() <= config.sliding_window
        mask = {"full_attention": mask, "sliding_attention": mask & near}
    return {
        "input_ids": tokens.ids.view(shape),
        "position_ids": tokens.positions.view(shape),
        "attention_mask": mask,
        "labels": labels.view(shape),
    }


def _texts(batch: Any) -> dict[str, Any]:
    """A batch of texts for transformers, padded to the longest."""
    import torch

    tokens = batch.tokens
    filled = torch.arange(tokens.max_seqlen) < tokens.cu_seqlens.diff().long()[:, None]  # [B, L]
    ids = tokens.ids.new_zeros(filled.shape).masked_scatter(filled, tokens.ids)
    return {"input_ids": ids, "attention_mask": filled.long(), "labels": batch.labels}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))

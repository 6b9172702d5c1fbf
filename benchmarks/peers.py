"""Hugging Face's Trainer as a contestant, on the token blocks of our own store.

P1 is what its example scripts do: `run_mlm.py` (fp32, dropout 0.1, SDPA, the collator that masks,
logits of every token) and `run_glue.py` (every text padded to `max_seq_length`). P2 is tuned as far
as its options go: bf16, no dropout in pretraining, the faster attention, batches grouped by length,
padded to their longest, no reports.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.race import Clock, resident_bytes
from benchmarks.setting import ROOT

# what the Trainer needs and this program does not: transformers would import it
PACKAGES = ROOT / ".cache" / "peers"


def train(spec: Mapping[str, Any], clock: Clock, threads: int) -> None:
    """Train in turns until stopped.

    Args:
        spec: `task`, `folder` (weights, config and tokenizer), `batch_size`, `optim`, and what the
            contestant chooses: `dropout`, `attention`, `bf16`, `sparse` (logits of masked tokens
            alone), and for texts `padded` (to `max_tokens`) or as they stand in the store, which
            lies in batches of like length.
    """
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    enable()
    from transformers import AutoTokenizer, Trainer, TrainerCallback

    from benchmarks import ours
    from src.config.build_nodes import build_node

    data = build_node(ours.config(spec)["data"]).build()
    data.prepare_data()
    tokenizer = AutoTokenizer.from_pretrained(spec["folder"], local_files_only=True)
    rows = masked_rows(data) if spec["task"] == "masked_lm" else labelled_rows(data, spec)
    torch.manual_seed(1)
    clock.note(bytes_before=resident_bytes())
    network = model(spec)
    clock.note(parameters=sum(each.numel() for each in network.parameters()))
    held_out = list(data.val_dataloader()) if "evaluate_every" in spec else []

    class Stops(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
            clock.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
            if held_out and (
                state.global_step % spec["evaluate_every"] == 0
                or state.global_step == state.max_steps
            ):
                clock.pause()
                clock.note(loss=held_out_loss(network, held_out, data.config.batching.row_tokens))
                clock.resume()
            clock.step()

    trainer = Trainer(
        model=network,
        args=arguments(spec),
        train_dataset=rows,
        data_collator=collator(spec, tokenizer),
        callbacks=[Stops()],
    )
    np.random.seed(1)
    trainer.train()


def enable() -> None:
    """Put accelerate on the path, which `make bench` has installed apart."""
    if PACKAGES.is_dir() and str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
    from transformers.utils import is_accelerate_available

    if not is_accelerate_available():
        raise RuntimeError(
            "the Trainer of Hugging Face needs accelerate: `make bench` installs it in .cache/peers"
        )


def model(spec: Mapping[str, Any]) -> Any:
    """The network of a contestant, in fp32, with its weights."""
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(spec["folder"], local_files_only=True)
    if spec["task"] != "masked_lm":
        config.num_labels = 2
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, spec["dropout"])
    # ModernBERT alone has the choice, and it is off by default
    if spec.get("sparse"):
        config.sparse_prediction = True
    kind = (
        AutoModelForMaskedLM if spec["task"] == "masked_lm" else AutoModelForSequenceClassification
    )
    chosen = {"config": config, "attn_implementation": spec["attention"], "local_files_only": True}
    return kind.from_pretrained(spec["folder"], **chosen).float()


def arguments(spec: Mapping[str, Any]) -> Any:
    """The Trainer's options. Fused AdamW and gradients clipped to norm 1 are its defaults."""
    from transformers import TrainingArguments

    optim = spec["optim"]
    tuned: dict[str, Any] = {"bf16": True} if spec["bf16"] else {}
    if spec["who"] == "P2":
        tuned |= {"logging_strategy": "no", "dataloader_pin_memory": False}
        if spec["task"] != "masked_lm":
            # the rows already lie in grouped batches
            tuned |= {"train_sampling_strategy": "sequential"}
    return TrainingArguments(
        output_dir=str(Path(spec["place"]) / "peer"),
        use_cpu=True,
        per_device_train_batch_size=spec["batch_size"],
        max_steps=spec.get("max_steps", 1_000_000),
        learning_rate=optim["lr"],
        weight_decay=optim["weight_decay"],
        adam_beta2=optim["beta2"],
        lr_scheduler_type=optim.get("schedule", "constant"),
        warmup_steps=optim.get("warmup_steps", 0),
        optim="adamw_torch_fused",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
        **tuned,
    )


def collator(spec: Mapping[str, Any], tokenizer: Any) -> Any:
    from transformers import (
        DataCollatorForLanguageModeling,
        DataCollatorWithPadding,
        default_data_collator,
    )

    if spec["task"] == "masked_lm":
        return DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    return default_data_collator if spec["padded"] else DataCollatorWithPadding(tokenizer)


def masked_rows(data: Any) -> Any:
    """Full rows of the training split, with the columns that `run_mlm.py` leaves."""
    import numpy as np
    from datasets import Dataset

    length = data.config.batching.row_tokens
    ids = np.asarray(
        data.token_stores["train"].ids[: len(data.token_stores["train"].ids) // length * length],
        dtype=np.int64,
    )
    rows = ids.reshape(-1, length)
    special = np.isin(rows, data.tokenizer.special_ids).astype(np.int64)
    columns = {"input_ids": rows, "token_type_ids": 0 * rows, "attention_mask": 0 * rows + 1}
    return Dataset.from_dict({**columns, "special_tokens_mask": special})


def labelled_rows(data: Any, spec: Mapping[str, Any]) -> Any:
    """Texts with their labels in the store's order, padded to `max_tokens` where the contestant
    does that.
    """
    from datasets import Dataset

    store, pad = data.token_stores["train"], data.tokenizer.pad_id
    spans = zip(store.offsets[:-1].tolist(), store.offsets[1:].tolist(), strict=True)
    texts = [store.ids[begin:end].tolist() for begin, end in spans]
    length = spec["max_tokens"] if spec["padded"] else 0
    lacking = [max(0, length - len(text)) for text in texts]
    columns = {
        "input_ids": [text + [pad] * rest for text, rest in zip(texts, lacking, strict=True)],
        "attention_mask": [
            [1] * len(text) + [0] * rest for text, rest in zip(texts, lacking, strict=True)
        ],
        "labels": store.targets.tolist(),
    }
    return Dataset.from_dict(columns)


def held_out_loss(network: Any, batches: list[Any], row_tokens: int) -> float:
    """Mean loss over the masked tokens of our own held-out batches, in rows as the network was
    trained on.
    """
    import torch

    network.eval()
    total, count = 0.0, 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for batch in batches:
            # of a short row, which stands last
            lacking = -len(batch.tokens.ids) % row_tokens
            real = torch.ones_like(batch.tokens.ids)
            labels = torch.full_like(real, -100)
            labels[batch.masked_positions] = batch.targets
            ids, mask, labels = (
                torch.cat([each, each.new_full((lacking,), fill)]).view(-1, row_tokens)
                for each, fill in ((batch.tokens.ids, 0), (real, 0), (labels, -100))
            )
            total += float(network(input_ids=ids, attention_mask=mask, labels=labels).loss) * len(
                batch.targets
            )
            count += len(batch.targets)
    network.train()
    return total / count

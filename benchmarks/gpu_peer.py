"""P2 on a GPU: the Trainer of Hugging Face, tuned as far as its options go."""

import tempfile
from typing import Any

import torch

from benchmarks.gpu_race import LR, SPECIAL, Race, Stopwatch, Timed


def tuned_trainer(race: Race, device: torch.device, warm_up: int, steps: int) -> Timed:
    """With bf16, torch.compile, fused AdamW, workers, and documents grouped by length where lengths
    differ.
    """
    import transformers
    from transformers import (
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        TrainerCallback,
    )

    watch = Stopwatch(device, warm_up, steps)
    store = race.store()
    rows = [
        store.ids[begin:end].tolist()
        for begin, end in zip(store.offsets, store.offsets[1:], strict=False)
    ]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_words(race.vocabulary),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    collate = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=0.15, pad_to_multiple_of=64
    )
    # of the steps under way; they may lie on the device
    real: list[torch.Tensor] = []

    def collated(examples: list[dict[str, Any]]) -> Any:
        return {
            **collate(examples),
            "real_tokens": torch.tensor(sum(len(each["input_ids"]) for each in examples)),
        }

    class Watching(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
            watch.step(real.pop())

    names = transformers.TrainingArguments.__dataclass_fields__
    grouped: dict[str, Any] = {}
    if race.real_lengths:
        grouped = (
            {"train_sampling_strategy": "group_by_length"}
            if "train_sampling_strategy" in names
            else {"group_by_length": True}
        )
    on_gpu = device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=_rows_of(race),
            max_steps=warm_up + steps,
            bf16=True,
            torch_compile=on_gpu,
            optim="adamw_torch_fused",
            learning_rate=LR,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            max_grad_norm=1.0,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            dataloader_num_workers=8 if on_gpu else 0,
            dataloader_pin_memory=on_gpu,
            remove_unused_columns=False,
            disable_tqdm=True,
            use_cpu=not on_gpu,
            **grouped,
        )
        network = race.module(warm_up + steps).encoder.network
        network.config._attn_implementation = "sdpa"

        class Counting(transformers.Trainer):
            def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
                real.append(inputs.pop("real_tokens"))
                return super().training_step(model, inputs, *rest, **named)

        Counting(
            model=network,
            args=arguments,
            train_dataset=[{"input_ids": row} for row in rows],
            data_collator=collated,
            callbacks=[Watching()],
        ).train()
    return watch.read()


def _rows_of(race: Race) -> int:
    """Documents of a batch with about as many tokens as a batch of packed rows."""
    return round(race.batch_size * race.row_tokens / float(race.lengths().mean()))


def _words(size: int) -> Any:
    from tokenizers import Tokenizer, models

    names = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"t{each}" for each in range(SPECIAL, size)),
    ]
    return Tokenizer(
        models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]")
    )

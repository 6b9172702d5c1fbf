"""This program as a contestant: `src.pipeline.run.run` on a composed config, and P3, a bare loop
around the same model.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.race import Clock, resident_bytes

# optimizer steps: a contestant is stopped, it does not end
ENDLESS = 1_000_000
# of this process, for the callback that a config describes in plain values
_clock: list[Clock] = []


def config(spec: Mapping[str, Any], threads: int = 1) -> dict[str, Any]:
    """The composed config of a contestant, as plain values."""
    from hydra import compose, initialize_config_dir

    from src.config.compose import register_resolvers, to_plain_config
    from src.core.files import CONF

    register_resolvers()
    fixed = (
        "trainer.max_epochs=null",
        f"trainer.max_steps={spec.get('max_steps', ENDLESS)}",
        f"trainer.val_check_steps={spec.get('evaluate_every', ENDLESS)}",
        "trainer.accelerator=cpu",
        f"trainer.threads={threads}",
        "callbacks.progress.style=off",
        f"tracking.root={spec['place']}/project",
        f"data.cache={spec['place']}/cache",
    )
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return to_plain_config(compose("config", [*spec["overrides"], *fixed]))


def train(spec: Mapping[str, Any], clock: Clock, threads: int) -> None:
    """The program itself, with its meter, checkpoints and MLflow store; a callback hands the turns
    on.
    """
    from src.pipeline.run import run

    _clock.append(clock)
    composed = config(spec, threads)
    composed["callbacks"]["turns"] = {
        "_target_": "benchmarks.ours.Turns",
        "every": spec.get("evaluate_every"),
    }
    run(**composed)


class Turns:
    """A config's node for the callback that stops where a turn ends: before the next step, after a
    validation.

    Args:
        every: optimizer steps between validations, where there are any.
    """

    def __init__(self, *, every: int | None) -> None:
        self._every = every

    def build(self, folder: Path, ties: object = None) -> list[Any]:
        from lightning.pytorch import Callback, LightningModule, Trainer

        [clock], every = _clock, self._every

        class Stops(Callback):
            steps = 0

            def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
                if stage == "fit":
                    # the weights come after this hook
                    clock.note(bytes_before=resident_bytes())

            def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
                clock.note(parameters=sum(each.numel() for each in pl_module.parameters()))
                clock.begin()

            def on_train_batch_end(
                self,
                trainer: Trainer,
                pl_module: LightningModule,
                outputs: Any,
                batch: Any,
                batch_idx: int,
            ) -> None:
                # a batch of several that make a step
                if trainer.global_step == self.steps:
                    return
                self.steps = trainer.global_step
                if every is None or self.steps % every:
                    clock.step()

            def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
                clock.pause()

            def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
                clock.note(loss=float(trainer.callback_metrics["val/loss"]))
                clock.resume()
                if every is not None:
                    clock.step()

        return [Stops()]


def parts(spec: Mapping[str, Any], threads: int = 1) -> tuple[Any, Any, Any]:
    """Data module, module with its weights, and Lightning's word for the precision: what `run()`
    would train.
    """
    from lightning import seed_everything

    from src.config.build_nodes import build_node

    composed = config(spec, threads)
    data, module = (build_node(composed[key]).build() for key in ("data", "model"))
    training = build_node(composed["trainer"])
    seed_everything(composed["seed"], workers=True, verbose=False)
    data.prepare_data()
    module.set_dataset_info(data.dataset_info, ENDLESS)
    precision, _ = training.resolve_precision()
    module.configure_model()
    return data, module, precision


def bare(spec: Mapping[str, Any], clock: Clock, threads: int) -> None:
    """P3: the loop that a person would write around the same model, batches and optimizer."""
    import torch

    torch.set_num_threads(threads)
    data, module, arithmetic = parts(spec, threads)
    module.train()
    optimizer = module.configure_optimizers()["optimizer"]
    parameters = [each for each in module.encoder.parameters() if each.requires_grad]
    half = arithmetic == "bf16-mixed"
    clock.begin()
    for epoch in itertools.count():
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False):
                loss = module.objective.forward(module.encoder, batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            clock.step()

#!/usr/bin/env bash
# lightning 2.6.6: with the callback OnExceptionCheckpoint, fit() without a ckpt_path goes on from an earlier crash.
#
# The callback is documented as saving a checkpoint on an exception. It also turns fit(ckpt_path=None) into "last", so
# another trainer with another model and the same dirpath begins at the step and with the weights of the failed run,
# whose file it finds there, instead of with the weights it was given. A line of the log names the file.
#
# Output seen:
#   fit begins at step 0 with weight 0
#   fit failed at step 3
#   another model, without the callback:
#   fit begins at step 0 with weight 70
#   another model, with the callback:
#   fit begins at step 3 with weight -3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$folder"
cat > show.py <<'PY'
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import OnExceptionCheckpoint


class Model(LightningModule):
    def __init__(self, weight, fails_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.layer.weight, weight)
        self.fails_at = fails_at

    def on_train_start(self):
        print(f"fit begins at step {self.global_step} with weight {self.layer.weight.item():g}")

    def training_step(self, batch, index):
        if self.global_step == self.fails_at:
            raise ValueError
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(model, callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_steps=5, accelerator="cpu", callbacks=callbacks, **quiet)
    try:
        trainer.fit(model, torch.utils.data.DataLoader(torch.ones(8, 1)), ckpt_path=None)
    except ValueError:
        print(f"fit failed at step {trainer.global_step}")


fit(Model(weight=0.0, fails_at=3), [OnExceptionCheckpoint("crashed")])
print("another model, without the callback:")
fit(Model(weight=70.0), [])
print("another model, with the callback:")
fit(Model(weight=70.0), [OnExceptionCheckpoint("crashed")])
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
fit begins at step 0 with weight 0
fit failed at step 3
another model, without the callback:
fit begins at step 0 with weight 70
another model, with the callback:
fit begins at step 3 with weight -3
EXPECTED

#!/usr/bin/env bash
# lightning 2.6.6: estimated_stepping_batches does not count the callback GradientAccumulationScheduler.
#
# In configure_optimizers, where learning rate schedules are made, the callback has not yet set accumulate_grad_batches, so
# the estimate is the one without accumulation, and the training is over long before a schedule of that length. The
# docstring names a MisconfigurationException for an accumulation that differs between epochs; none is raised.
#
# Output seen:
#   accumulate_grad_batches=2: 8 steps estimated, 8 taken
#   scheduler {0: 2}: 16 steps estimated, 8 taken
#   scheduler {0: 4, 1: 1}: 16 steps estimated, 10 taken
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$folder"
cat > show.py <<'PY'
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        self.estimate = self.trainer.estimated_stepping_batches
        return torch.optim.SGD(self.parameters(), lr=0.1)


names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
quiet = dict.fromkeys(names, False)
for said, more in (
    ("accumulate_grad_batches=2", {"accumulate_grad_batches": 2}),
    ("scheduler {0: 2}", {"callbacks": [GradientAccumulationScheduler({0: 2})]}),
    ("scheduler {0: 4, 1: 1}", {"callbacks": [GradientAccumulationScheduler({0: 4, 1: 1})]}),
):
    model = Model()
    trainer = Trainer(max_epochs=2, accelerator="cpu", **quiet, **more)
    trainer.fit(model, torch.utils.data.DataLoader(torch.ones(8, 1)))
    print(f"{said}: {model.estimate} steps estimated, {trainer.global_step} taken")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
accumulate_grad_batches=2: 8 steps estimated, 8 taken
scheduler {0: 2}: 16 steps estimated, 8 taken
scheduler {0: 4, 1: 1}: 16 steps estimated, 10 taken
EXPECTED

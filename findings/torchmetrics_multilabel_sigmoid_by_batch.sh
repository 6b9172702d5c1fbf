#!/usr/bin/env bash
# torchmetrics 1.9.0: multilabel metrics decide batch by batch whether the predictions are logits.
#
# A batch is passed through a sigmoid only if some value lies outside of [0, 1]. Logits that all happen to lie inside are
# taken for probabilities and compared with 0.5, so the same row counts differently according to its neighbours.
#
# Output seen:
#   logit 0.3 beside -0.1: predicted 1
#   logit 0.3 beside 0.2: predicted 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
cd "$folder"
cat > show.py <<'PY'
import torch
from torchmetrics.classification import MultilabelStatScores

for neighbour in (-0.1, 0.2):
    metric = MultilabelStatScores(num_labels=2, average=None)
    metric.update(torch.tensor([[0.3, neighbour]]), torch.tensor([[1, 0]]))
    true_positives = int(metric.compute()[0, 0])
    print(f"logit 0.3 beside {neighbour}: predicted {true_positives}")
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
logit 0.3 beside -0.1: predicted 1
logit 0.3 beside 0.2: predicted 0
EXPECTED

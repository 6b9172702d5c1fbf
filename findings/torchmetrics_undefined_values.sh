#!/usr/bin/env bash
# torchmetrics 1.9.0: where a score is not defined, some metrics give a number that looks like a result, without a warning.
#
# One wrong row has an ExplainedVariance of 1.0, the best there is, where R2Score raises. Constant targets have a
# SpearmanCorrCoef of 0.0 where PearsonCorrCoef is nan with a warning. Without positives, BinaryAveragePrecision with
# thresholds is -0.0 in silence, and without thresholds the same number with a warning.
#
# Output seen:
#   one row, 1 for 10, R2Score: ValueError, warnings 0
#   one row, 1 for 10, ExplainedVariance: 1.0, warnings 0
#   constant targets, PearsonCorrCoef: nan, warnings 1
#   constant targets, SpearmanCorrCoef: 0.0, warnings 0
#   no positives, BinaryAveragePrecision: -0.0, warnings 1
#   no positives, thresholds=5, BinaryAveragePrecision: -0.0, warnings 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
cd "$folder"
cat > show.py <<'PY'
import warnings

import torch
from torchmetrics.classification import BinaryAveragePrecision
from torchmetrics.regression import ExplainedVariance, PearsonCorrCoef, R2Score, SpearmanCorrCoef


def show(said, metric, predictions, targets):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            metric.update(torch.tensor(predictions), torch.tensor(targets))
            value = metric.compute().item()
        except ValueError as error:
            value = type(error).__name__
    print(f"{said}, {type(metric).__name__}: {value}, warnings {len(warned)}")


warnings.simplefilter("ignore")
show("one row, 1 for 10", R2Score(), [1.0], [10.0])
show("one row, 1 for 10", ExplainedVariance(), [1.0], [10.0])
show("constant targets", PearsonCorrCoef(), [1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
show("constant targets", SpearmanCorrCoef(), [1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
show("no positives", BinaryAveragePrecision(), [0.1, 0.2, 0.3], [0, 0, 0])
show("no positives, thresholds=5", BinaryAveragePrecision(thresholds=5), [0.1, 0.2, 0.3], [0, 0, 0])
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
one row, 1 for 10, R2Score: ValueError, warnings 0
one row, 1 for 10, ExplainedVariance: 1.0, warnings 0
constant targets, PearsonCorrCoef: nan, warnings 1
constant targets, SpearmanCorrCoef: 0.0, warnings 0
no positives, BinaryAveragePrecision: -0.0, warnings 1
no positives, thresholds=5, BinaryAveragePrecision: -0.0, warnings 0
EXPECTED

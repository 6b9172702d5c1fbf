#!/usr/bin/env bash
# openvino 2026.4.1 with torch 2.13.0, transformers 5.23.0, onnx 1.23.2, onnxscript 0.7.2: a BERT that goes by ONNX loses its
# fused attention, and one that is taken from torch keeps it.
#
# openvino.convert_model of the torch module leaves one ScaledDotProductAttention for each layer. The same module exported
# by torch.onnx.export and then converted has MatMul, Softmax and MatMul in its place. Answers agree, but what is made of
# the network afterwards differs: nncf's static quantisation puts its quantisers between the parts of each attention.
#
# Output seen:
#   from torch: {'ScaledDotProductAttention': 2, 'Softmax': 0, 'MatMul': 14}
#   by ONNX: {'ScaledDotProductAttention': 0, 'Softmax': 2, 'MatMul': 18}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 openvino==2026.4.1 onnx==1.23.2 onnxscript==0.7.2
cd "$folder"
cat > show.py <<'PY'
import logging
import warnings
from collections import Counter

import openvino
import torch
from transformers import BertConfig, BertForSequenceClassification

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
model = BertForSequenceClassification(BertConfig(vocab_size=100, **sizes)).eval()
inputs = {
    "input_ids": torch.randint(5, 100, (2, 16)),
    "attention_mask": torch.ones(2, 16, dtype=torch.long),
}


def count(network):
    kinds = Counter(operation.get_type_name() for operation in network.get_ops())
    return {kind: kinds[kind] for kind in ("ScaledDotProductAttention", "Softmax", "MatMul")}


print("from torch:", count(openvino.convert_model(model, example_input=inputs)))
torch.onnx.export(model, (), "model.onnx", kwargs=inputs, dynamo=True, verbose=False)
print("by ONNX:", count(openvino.convert_model("model.onnx")))
PY
CI=true "$folder/venv/bin/python" show.py 2> /dev/null | grep -E '^(from torch|by ONNX)' | tee seen
diff seen - <<'EXPECTED'
from torch: {'ScaledDotProductAttention': 2, 'Softmax': 0, 'MatMul': 14}
by ONNX: {'ScaledDotProductAttention': 0, 'Softmax': 2, 'MatMul': 18}
EXPECTED

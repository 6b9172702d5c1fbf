#!/usr/bin/env bash
# transformers 5.23.0: DebertaV2ForMaskedLM with legacy=False cannot be used after resize_token_embeddings.
#
# Its get_output_embeddings() returns the head's dense layer (hidden x hidden) instead of an output layer, so the resize
# gives that layer one row for each token, and the next forward pass fails. With legacy=True the same works.
#
# Output seen:
#   legacy=True: logits (1, 3, 65)
#   legacy=False: head's dense layer (65, 16), forward raises RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
import torch
from transformers import DebertaV2Config, DebertaV2ForMaskedLM

sizes = dict(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
for legacy in (True, False):
    model = DebertaV2ForMaskedLM(DebertaV2Config(**sizes, legacy=legacy)).eval()
    model.resize_token_embeddings(65)
    try:
        logits = model(torch.tensor([[1, 2, 3]])).logits
        print(f"legacy={legacy}: logits {tuple(logits.shape)}")
    except RuntimeError as error:
        shape = tuple(model.lm_predictions.lm_head.dense.weight.shape)
        print(f"legacy={legacy}: head's dense layer {shape}, forward raises {type(error).__name__}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
legacy=True: logits (1, 3, 65)
legacy=False: head's dense layer (65, 16), forward raises RuntimeError
EXPECTED

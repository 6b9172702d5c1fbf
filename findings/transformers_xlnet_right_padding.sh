#!/usr/bin/env bash
# transformers 5.23.0: XLNetForSequenceClassification answers by the last place of the row, padding or not.
#
# The attention mask does not move it to the last real token. Padding on the left (the tokenizer's default) changes
# nothing; padding on the right with a correct mask gives other logits for the same text, without a warning.
# GPT2ForSequenceClassification, which also answers by the last token, looks for it.
#
# Output seen:
#   GPT2ForSequenceClassification, padded on the right: same logits as alone: True
#   XLNetForSequenceClassification, padded on the right: same logits as alone: False
#   XLNetForSequenceClassification, padded on the left: same logits as alone: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
import torch
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

torch.manual_seed(0)
xlnet = XLNetConfig(vocab_size=32, d_model=16, n_layer=2, n_head=2, d_inner=16, pad_token_id=5)
gpt2 = GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, pad_token_id=5)
for model in (GPT2ForSequenceClassification(gpt2), XLNetForSequenceClassification(xlnet)):
    model.eval()
    with torch.no_grad():
        alone = model(torch.tensor([[7, 8, 9]]), attention_mask=torch.tensor([[1, 1, 1]])).logits
        ids, mask = torch.tensor([[7, 8, 9, 5, 5]]), torch.tensor([[1, 1, 1, 0, 0]])
        padded = model(ids, attention_mask=mask).logits
    same = torch.allclose(padded, alone, atol=1e-6)
    print(f"{type(model).__name__}, padded on the right: same logits as alone: {same}")
with torch.no_grad():
    ids, mask = torch.tensor([[5, 5, 7, 8, 9]]), torch.tensor([[0, 0, 1, 1, 1]])
    same = torch.allclose(model(ids, attention_mask=mask).logits, alone, atol=1e-6)
print(f"{type(model).__name__}, padded on the left: same logits as alone: {same}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
GPT2ForSequenceClassification, padded on the right: same logits as alone: True
XLNetForSequenceClassification, padded on the right: same logits as alone: False
XLNetForSequenceClassification, padded on the left: same logits as alone: True
EXPECTED

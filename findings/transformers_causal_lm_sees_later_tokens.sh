#!/usr/bin/env bash
# transformers 5.23.0: AutoModelForCausalLM makes a network that is not causal from an encoder's config.
#
# With the default is_decoder=False, BertLMHeadModel attends in both directions: the first token's logits depend on the
# tokens after it. Nothing is raised, there is one line in the log. Its loss is the one of the next token, so a training
# can read the answer off its input.
#
# Output seen:
#   BertLMHeadModel {}: the first token's logits depend on the last token: True
#   BertLMHeadModel {'is_decoder': True}: the first token's logits depend on the last token: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
import torch
from transformers import AutoModelForCausalLM, BertConfig

sizes = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
for more in ({}, {"is_decoder": True}):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(BertConfig(**sizes, **more)).eval()
    with torch.no_grad():
        one, other = (model(torch.tensor([[1, 2, last]])).logits[0, 0] for last in (3, 4))
    depends = not torch.allclose(one, other, atol=1e-6)
    print(f"{type(model).__name__} {more}: the first token's logits depend on the last token: {depends}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
BertLMHeadModel {}: the first token's logits depend on the last token: True
BertLMHeadModel {'is_decoder': True}: the first token's logits depend on the last token: False
EXPECTED

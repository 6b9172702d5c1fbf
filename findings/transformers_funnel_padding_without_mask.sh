#!/usr/bin/env bash
# transformers 5.23.0: FunnelModel raises AttributeError where other families only warn about a missing attention mask.
#
# If a row begins or ends with the padding token and no attention mask is given, the models log a warning. The check reads
# config.bos_token_id, which FunnelConfig lacks, so with a pad_token_id set the forward pass fails. With the mask, or with
# the padding token inside of the row, it works.
#
# Output seen:
#   BertModel, padding last, with a mask: works
#   BertModel, padding last, without: works
#   BertModel, padding inside, without: works
#   FunnelModel, padding last, with a mask: works
#   FunnelModel, padding last, without: AttributeError, 'FunnelConfig' object has no attribute 'bos_token_id'
#   FunnelModel, padding inside, without: works
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
import torch
from transformers import BertConfig, BertModel, FunnelConfig, FunnelModel

funnel = dict(d_model=16, d_inner=16, n_head=2, d_head=8, block_sizes=[1], num_decoder_layers=1)
bert = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
for model in (
    BertModel(BertConfig(vocab_size=32, pad_token_id=0, **bert)).eval(),
    FunnelModel(FunnelConfig(vocab_size=32, pad_token_id=0, **funnel)).eval(),
):
    for said, ids, mask in (
        ("padding last, with a mask", [4, 5, 0], torch.tensor([[1, 1, 0]])),
        ("padding last, without", [4, 5, 0], None),
        ("padding inside, without", [4, 0, 5], None),
    ):
        try:
            model(torch.tensor([ids]), attention_mask=mask)
            print(f"{type(model).__name__}, {said}: works")
        except AttributeError as error:
            print(f"{type(model).__name__}, {said}: AttributeError, {str(error).split('.')[0]}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
BertModel, padding last, with a mask: works
BertModel, padding last, without: works
BertModel, padding inside, without: works
FunnelModel, padding last, with a mask: works
FunnelModel, padding last, without: AttributeError, 'FunnelConfig' object has no attribute 'bos_token_id'
FunnelModel, padding inside, without: works
EXPECTED

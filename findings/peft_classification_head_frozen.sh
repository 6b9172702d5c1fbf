#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0: task_type="SEQ_CLS" trains and saves the classification head of some families only.
#
# The head is found by its name, "classifier" or "score". BART, T5 (classification_head) and XLNet (logits_proj) call it
# otherwise: it stays frozen at its random start and is not in the saved adapter, so that opening the adapter on the same
# base gives another random head. Nothing is said. modules_to_save=[NAME] mends it.
# inject_adapter_in_model, with the same config, freezes BERT's head too.
#
# Output seen:
#   bert: tensors of the head trained 2, saved 2
#   xlnet: tensors of the head trained 0, saved 0
#   bart: tensors of the head trained 0, saved 0
#   bart, modules_to_save: tensors of the head trained 4, saved 4
#   bert, inject_adapter_in_model: tensors of the head trained 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$folder"
cat > show.py <<'PY'
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)


def bert():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )


def xlnet():
    return XLNetForSequenceClassification(
        XLNetConfig(vocab_size=32, d_model=16, n_layer=1, n_head=2, d_inner=16)
    )


def bart():
    sides = {
        f"{side}_{size}": number
        for side in ("encoder", "decoder")
        for size, number in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    return BartForSequenceClassification(
        BartConfig(vocab_size=32, d_model=16, max_position_embeddings=32, **sides)
    )


def trained(model):
    return sum(p.requires_grad for name, p in model.named_parameters() if "lora" not in name)


def lora(target, **more):
    return LoraConfig(target_modules=[target], task_type="SEQ_CLS", **more)


for said, make, target, more in (
    ("bert", bert, "query", {}),
    ("xlnet", xlnet, "layer_1", {}),
    ("bart", bart, "q_proj", {}),
    ("bart, modules_to_save", bart, "q_proj", {"modules_to_save": ["classification_head"]}),
):
    model = get_peft_model(make(), lora(target, **more))
    saved = sum("lora" not in name for name in get_peft_model_state_dict(model))
    print(f"{said}: tensors of the head trained {trained(model)}, saved {saved}")
model = inject_adapter_in_model(lora("query"), bert())
print(f"bert, inject_adapter_in_model: tensors of the head trained {trained(model)}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
bert: tensors of the head trained 2, saved 2
xlnet: tensors of the head trained 0, saved 0
bart: tensors of the head trained 0, saved 0
bart, modules_to_save: tensors of the head trained 4, saved 4
bert, inject_adapter_in_model: tensors of the head trained 0
EXPECTED

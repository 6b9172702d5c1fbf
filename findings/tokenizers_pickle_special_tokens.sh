#!/usr/bin/env bash
# tokenizers 0.23.3: pickling a Tokenizer, and to_str(), lose the attribute `encode_special_tokens`.
#
# With it set, the text of a special token in the input is split like any other text. A copy that goes to a worker
# process by pickle, or a file written with save(), gives the special token's id again: the same text has other ids in
# the main process and in a worker, without an error.
#
# Output seen:
#   as set: ['a', '[', 'M', ']']
#   after pickle: ['a', '[M]'] attribute: False
#   after to_str: ['a', '[M]'] attribute: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cd "$folder"
cat > show.py <<'PY'
import pickle

from tokenizers import Tokenizer, models, pre_tokenizers

tokenizer = Tokenizer(models.WordLevel({"a": 0, "[": 1, "M": 2, "]": 3, "?": 4}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.add_special_tokens(["[M]"])
tokenizer.encode_special_tokens = True
print("as set:", tokenizer.encode("a [M]").tokens)
for way, copy in (
    ("pickle", pickle.loads(pickle.dumps(tokenizer))),
    ("to_str", Tokenizer.from_str(tokenizer.to_str())),
):
    print(f"after {way}:", copy.encode("a [M]").tokens, "attribute:", copy.encode_special_tokens)
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
as set: ['a', '[', 'M', ']']
after pickle: ['a', '[M]'] attribute: False
after to_str: ['a', '[M]'] attribute: False
EXPECTED

#!/usr/bin/env bash
# transformers 5.23.0: BertTokenizer(vocab_file=PATH) does not read PATH.
#
# The argument is now called `vocab`. The old name is taken without an error or a warning (and kept in init_kwargs), and
# the tokenizer has the five special tokens only: every word becomes [UNK]. The file need not even exist.
#
# Output seen:
#   vocab=vocab.txt: 7 tokens, ['good', 'day']
#   vocab_file=vocab.txt: 5 tokens, ['[UNK]', '[UNK]']
#   vocab_file=absent.txt: 5 tokens, ['[UNK]', '[UNK]']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
from transformers import BertTokenizer

with open("vocab.txt", "w") as file:
    file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "day"]) + "\n")
for argument, path in (("vocab", "vocab.txt"), ("vocab_file", "vocab.txt"), ("vocab_file", "absent.txt")):
    tokenizer = BertTokenizer(**{argument: path})
    print(f"{argument}={path}: {len(tokenizer)} tokens, {tokenizer.tokenize('good day')}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null | tee seen
diff seen - <<'EXPECTED'
vocab=vocab.txt: 7 tokens, ['good', 'day']
vocab_file=vocab.txt: 5 tokens, ['[UNK]', '[UNK]']
vocab_file=absent.txt: 5 tokens, ['[UNK]', '[UNK]']
EXPECTED

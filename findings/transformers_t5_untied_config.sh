#!/usr/bin/env bash
# transformers 5.23.0: T5Config(tie_word_embeddings=False) says tie_word_embeddings=True.
#
# What was asked for is kept under another name, scale_decoder_outputs=False, and the word embeddings are tied whatever
# the argument. Code that reads the config to learn whether a network has an output layer of its own is told the opposite
# of what the config was built with.
#
# Output seen:
#   asked False: tie_word_embeddings True, scale_decoder_outputs False
#   asked True: tie_word_embeddings True, scale_decoder_outputs True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
cd "$folder"
cat > show.py <<'PY'
from transformers import T5Config

for asked in (False, True):
    config = T5Config(tie_word_embeddings=asked)
    print(
        f"asked {asked}: tie_word_embeddings {config.tie_word_embeddings},"
        f" scale_decoder_outputs {config.scale_decoder_outputs}"
    )
PY
"$folder/venv/bin/python" show.py 2> /dev/null | tee seen
diff seen - <<'EXPECTED'
asked False: tie_word_embeddings True, scale_decoder_outputs False
asked True: tie_word_embeddings True, scale_decoder_outputs True
EXPECTED

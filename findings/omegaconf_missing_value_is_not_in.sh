#!/usr/bin/env bash
# omegaconf 2.3.1: a key whose value is still missing (`???`) is among the keys of a config but not "in" it.
#
# Code that asks `name in config` whether a class or a command line knows a key takes a required key for an unknown one;
# `config.keys()`, `len(config)` and iteration count it.
#
# Output seen:
#   keys: ['path', 'format'] length: 2
#   'path' in config: False
#   'path' in config.keys(): True
#   get: None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check omegaconf==2.3.1
cd "$folder"
cat > show.py <<'PY'
from omegaconf import OmegaConf

config = OmegaConf.create({"path": "???", "format": "csv"})
print("keys:", list(config.keys()), "length:", len(config))
print("'path' in config:", "path" in config)
print("'path' in config.keys():", "path" in list(config.keys()))
print("get:", config.get("path"))
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
keys: ['path', 'format'] length: 2
'path' in config: False
'path' in config.keys(): True
get: None
EXPECTED

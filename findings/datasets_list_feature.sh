#!/usr/bin/env bash
# datasets 5.2.0 and 3.6.0: a Parquet file with a list of class labels, written by the newer, cannot be opened by the older.
#
# The features are stored as JSON in the file's metadata. In 3.6.0 a list is "_type": "Sequence" there, in 5.2.0 it is
# "List", even where the program says Sequence(ClassLabel(...)). The newer reads both; the older raises a ValueError for
# a file that is sound Parquet. Who reads the label names from the metadata has to know both words.
#
# Output seen:
#   written by 3.6.0: {"feature": {"names": ["O", "X"], "_type": "ClassLabel"}, "_type": "Sequence"}
#   written by 5.2.0: {"feature": {"names": ["O", "X"], "_type": "ClassLabel"}, "_type": "List"}
#   3.6.0 opens the file of 3.6.0: [[0, 1]]
#   3.6.0 opens the file of 5.2.0: ValueError, Feature type 'List' not found
#   5.2.0 opens the file of 3.6.0: [[0, 1]]
#   5.2.0 opens the file of 5.2.0: [[0, 1]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HF_HOME="$folder/home"
for version in 3.6.0 5.2.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check datasets==$version
done
cd "$folder"
cat > write.py <<'PY'
import json

import datasets
import pyarrow.parquet

features = datasets.Features({"tags": datasets.Sequence(datasets.ClassLabel(names=["O", "X"]))})
path = f"{datasets.__version__}.parquet"
datasets.Dataset.from_dict({"tags": [[0, 1]]}, features=features).to_parquet(path)
stored = json.loads(pyarrow.parquet.read_schema(path).metadata[b"huggingface"])
print(f"written by {datasets.__version__}:", json.dumps(stored["info"]["features"]["tags"]))
PY
cat > open.py <<'PY'
import datasets

for version in ("3.6.0", "5.2.0"):
    said = f"{datasets.__version__} opens the file of {version}:"
    try:
        opened = datasets.Dataset.from_parquet(f"{version}.parquet", cache_dir=f"{datasets.__version__}.cache")
        print(said, list(opened["tags"]))
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        print(said, f"{type(error).__name__}, {str(error).split('.')[0]}")
PY
for script in write.py open.py; do
  for version in 3.6.0 5.2.0; do
    "$folder/$version/bin/python" $script 2>>errors
  done
done | tee seen
diff seen - <<'EXPECTED'
written by 3.6.0: {"feature": {"names": ["O", "X"], "_type": "ClassLabel"}, "_type": "Sequence"}
written by 5.2.0: {"feature": {"names": ["O", "X"], "_type": "ClassLabel"}, "_type": "List"}
3.6.0 opens the file of 3.6.0: [[0, 1]]
3.6.0 opens the file of 5.2.0: ValueError, Feature type 'List' not found
5.2.0 opens the file of 3.6.0: [[0, 1]]
5.2.0 opens the file of 5.2.0: [[0, 1]]
EXPECTED

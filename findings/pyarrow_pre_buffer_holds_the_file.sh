#!/usr/bin/env bash
# pyarrow 25.0.1: `ParquetFile.iter_batches` holds the whole file in memory while it goes through it, because the option
# `pre_buffer` is True by default and keeps every column chunk that it has fetched ahead until the file is closed.
#
# So reading a Parquet file batch by batch, which is meant for files that do not fit into memory, takes as much memory as
# the file. With pre_buffer=False and a small buffer_size it takes about a batch.
#
# Output seen:
#   file over 100 MB: True
#   as it is, more than half of the file is held: True
#   without pre_buffer, less than a tenth is held: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1 numpy==2.4.6
cd "$folder"
cat > show.py <<'PY'
import os
import subprocess
import sys

import numpy
import pyarrow
import pyarrow.parquet

if len(sys.argv) == 1:
    # random bytes, which no compression makes smaller; 16 row groups
    random = numpy.random.default_rng(0)
    values = [random.bytes(64).hex() for _ in range(1_600_000)]
    pyarrow.parquet.write_table(
        pyarrow.table({"text": values}), "long.parquet", row_group_size=100_000, use_dictionary=False
    )
    size = os.path.getsize("long.parquet")
    print("file over 100 MB:", size > 100e6)
    peaks = [
        int(subprocess.run([sys.executable, "show.py", way], capture_output=True, text=True, check=True).stdout)
        for way in ("default", "no")
    ]
    print("as it is, more than half of the file is held:", peaks[0] > size / 2)
    print("without pre_buffer, less than a tenth is held:", peaks[1] < size / 10)
else:
    options = {} if sys.argv[1] == "default" else {"pre_buffer": False, "buffer_size": 1 << 20}
    file = pyarrow.parquet.ParquetFile("long.parquet", **options)
    peak = 0
    for batch in file.iter_batches(batch_size=1000):
        del batch
        peak = max(peak, pyarrow.total_allocated_bytes())
    print(peak)
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
file over 100 MB: True
as it is, more than half of the file is held: True
without pre_buffer, less than a tenth is held: True
EXPECTED

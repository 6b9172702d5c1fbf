#!/usr/bin/env bash
# ray 2.60.0: the cluster for tests (`ray.cluster_utils.Cluster`) starts its head and then fails, where the head is given a `temp_dir`
# of its own and no Ray ever ran on the machine.
#
# The head's files go to `temp_dir`, but the address of the cluster is noted in the default folder (`/tmp/ray`, or `ray` under
# `TMPDIR`), which nothing has made. It works on a machine where any Ray has run before, so tests pass at a desk and fail in a fresh
# container. Making the default folder beforehand is enough.
#
# Output seen:
#   own temp_dir, fresh machine: FileNotFoundError ray/ray_current_cluster
#   own temp_dir, the default folder made before: started
set -euo pipefail
folder=$(mktemp -d /tmp/ray-find-XXXX)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cat > "$folder/show.py" <<'PY'
import os
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

default = Path(os.environ["TMPDIR"], "ray")
if sys.argv[1] == "made":
    default.mkdir()
words = {"fresh": "fresh machine", "made": "the default folder made before"}[sys.argv[1]]
cluster = Cluster()
try:
    cluster.add_node(num_cpus=0, include_dashboard=False, temp_dir=sys.argv[2])
    print(f"own temp_dir, {words}: started")
except FileNotFoundError as error:
    missing = Path(error.filename).relative_to(os.environ["TMPDIR"])
    print(f"own temp_dir, {words}: FileNotFoundError {missing}")
finally:
    cluster.shutdown()
PY
export RAY_USAGE_STATS_ENABLED=0
mkdir "$folder/t"
for state in fresh made; do
  # short, since paths of sockets are
  TMPDIR="$folder/t" "$folder/venv/bin/python" "$folder/show.py" "$state" "$folder/$state" 2>/dev/null
done | grep "own temp_dir" | tee "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
own temp_dir, fresh machine: FileNotFoundError ray/ray_current_cluster
own temp_dir, the default folder made before: started
EXPECTED

#!/usr/bin/env bash
# mlflow-skinny 3.17.2: mlflow.set_tracking_uri(URI) also writes URI into os.environ["MLFLOW_TRACKING_URI"].
#
# So after a program has chosen a store by its own settings, the environment says that the user has chosen it: a second
# part of the same program that honours the variable takes the first part's store for the user's wish, and every child
# process inherits it. mlflow.set_tracking_uri("") leaves the variable empty instead of giving back what was there before.
#
# Output seen:
#   before: None
#   after set_tracking_uri: sqlite:///one.db
#   in a child process: sqlite:///one.db
#   set by the user, then set_tracking_uri(""): ''
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
cd "$folder"
cat > show.py <<'PY'
import os
import subprocess
import sys

os.environ.pop("MLFLOW_TRACKING_URI", None)
import mlflow

print("before:", os.environ.get("MLFLOW_TRACKING_URI"))
mlflow.set_tracking_uri("sqlite:///one.db")
print("after set_tracking_uri:", os.environ.get("MLFLOW_TRACKING_URI"))
child = [sys.executable, "-c", "import os; print(os.environ.get('MLFLOW_TRACKING_URI'))"]
print("in a child process:", subprocess.check_output(child, text=True).strip())
os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:5000"
mlflow.set_tracking_uri("")
print('set by the user, then set_tracking_uri(""):', repr(os.environ.get("MLFLOW_TRACKING_URI")))
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
before: None
after set_tracking_uri: sqlite:///one.db
in a child process: sqlite:///one.db
set by the user, then set_tracking_uri(""): ''
EXPECTED

#!/usr/bin/env bash
# SQLAlchemy 2.1.9 decodes percent signs in the path of a SQLite address; SQLAlchemy 2.0.44 takes the path as it is.
#
# With 2.1.9 sqlite:////tmp/a%20b/runs.db is the file /tmp/a b/runs.db. A program that puts the path of a file behind
# sqlite:/// by itself, as is done for MLflow's tracking address, therefore reads and writes the database of ANOTHER
# folder where a folder's name holds %20, without an error if that folder exists. MLflow 3.17.2 does the same with where
# artifacts lie: a plain path /tmp/a%20b is opened as /tmp/a b.
#
# Output seen:
#   2.1.9: a b/runs.db
#   2.0.44: a%20b/runs.db
#   mlflow 3.17.2: /x/a b
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
mkdir "a b" "a%20b"
cat > show.py <<'PY'
from pathlib import Path

import sqlalchemy

engine = sqlalchemy.create_engine(f"sqlite:///{Path.cwd()}/a%20b/runs.db")
with engine.connect() as connection:
    connection.execute(sqlalchemy.text("CREATE TABLE runs (id INTEGER)"))
    connection.commit()
for file in Path.cwd().glob("a*/runs.db"):
    print(f"{sqlalchemy.__version__}: {file.relative_to(Path.cwd())}")
    file.unlink()
PY
for version in 2.1.9 2.0.44; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "sqlalchemy==$version"
    "$folder/venv/bin/python" show.py
done > seen
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
"$folder/venv/bin/python" - >> seen <<'PY'
import mlflow
from mlflow.utils.file_utils import local_file_uri_to_path

print(f"mlflow {mlflow.__version__}: {local_file_uri_to_path('/x/a%20b')}")
PY
cat seen
diff seen - <<'EXPECTED'
2.1.9: a b/runs.db
2.0.44: a%20b/runs.db
mlflow 3.17.2: /x/a b
EXPECTED

#!/usr/bin/env bash
# MLflow 3.17.2 keeps the connections to every SQLite store that a process has used until the process ends, also when
# every client and store object is gone: the engines are kept in a dictionary of the class, by address.
#
# A process that goes through many stores (a test suite, a notebook that compares projects, a service for several
# teams) so gathers open files. Past 1,024 of them Python's select.select refuses any descriptor that is opened later
# ("filedescriptor out of range in select()"), in code that has nothing to do with MLflow.
#
# Output seen:
#   40 stores, all clients gone: at least two files a store are open: True
#   the last descriptor is beyond select: True
#   after engine.dispose() of each: fewer than ten are open: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cd "$folder"
cat > show.py <<'PY'
import gc
import os
import resource
import select
import shutil
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient


def open_files() -> int:
    names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(".db" in os.readlink(name) for name in names if os.path.islink(name))


def use(file: Path) -> None:
    client = MlflowClient(f"sqlite:///{file}")
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "loss", 1.0)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
# one store is made, the others are copies of it: making one takes seconds
use(Path("first.db").resolve())
stores = 40
for number in range(stores):
    copy = Path(f"{number}.db").resolve()
    shutil.copy("first.db", copy)
    use(copy)
gc.collect()
print(f"{stores} stores, all clients gone: at least two files a store are open: {open_files() >= 2 * stores}")
# what some 400 more stores would do
others = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
try:
    select.select([others[-1]], [], [], 0)
    refused = False
except ValueError:
    refused = True
print(f"the last descriptor is beyond select: {refused}")
for engine in SqlAlchemyStore._engine_map.values():
    engine.dispose()
print(f"after engine.dispose() of each: fewer than ten are open: {open_files() < 10}")
PY
"$folder/venv/bin/python" show.py 2>/dev/null > seen
cat seen
diff seen - <<'EXPECTED'
40 stores, all clients gone: at least two files a store are open: True
the last descriptor is beyond select: True
after engine.dispose() of each: fewer than ten are open: True
EXPECTED

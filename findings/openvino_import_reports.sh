#!/usr/bin/env bash
# openvino 2026.4.1 reports its use to its makers as soon as it is imported, unless it finds itself in a CI system (the variable
# CI): it keeps a number for this user in the home folder, and starts a process by multiprocessing (on Linux before Python 3.14
# a fork of the importing process) that sends the report.
#
# There is no question first and no message. A process that holds a GPU, threads or a training is forked with all of them by a
# mere import, before any function of the package is called.
# The remedy: set CI while it is imported, or keep the package openvino-telemetry out of the environment.
#
# Output seen:
#   imported: processes started 1, kept in the home folder: openvino_ga_cid, stats
#   imported with CI=true: processes started 0, kept in the home folder: nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy==2.4.6
cat > "$folder/show.py" <<'PY'
import multiprocessing
import sys
import time
from pathlib import Path

started = []


class Counted:
    """Stands in for a process: nothing is sent."""

    def __init__(self, *_: object, **__: object) -> None:
        self.daemon = True

    def start(self) -> None:
        started.append(self)

    def join(self, timeout: float | None = None) -> None:
        """Nothing."""

    def is_alive(self) -> bool:
        return False


multiprocessing.Process = Counted
import openvino  # noqa: E402, F401

time.sleep(2)
kept = sorted(file.name for file in Path.home().rglob("*") if file.is_file())
print(f"{sys.argv[1]}: processes started {len(started)}, kept in the home folder: {', '.join(kept) or 'nothing'}")
PY
mkdir "$folder/first" "$folder/second"
{
    env -u CI -u TF_BUILD -u JENKINS_URL HOME="$folder/first" "$folder/venv/bin/python" "$folder/show.py" imported
    CI=true HOME="$folder/second" "$folder/venv/bin/python" "$folder/show.py" "imported with CI=true"
} 2>/dev/null > "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
imported: processes started 1, kept in the home folder: openvino_ga_cid, stats
imported with CI=true: processes started 0, kept in the home folder: nothing
EXPECTED

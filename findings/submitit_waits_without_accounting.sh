#!/usr/bin/env bash
# submitit 1.5.4: where SLURM keeps no accounting, the result of a job that was cancelled before it began is waited for
# for ever, and a state that it does not know counts as an end.
#
# submitit knows of an end by the file that the job leaves behind, else by sacct. A job that never began leaves none, sacct
# fails, which is a warning, and the state stays UNKNOWN, which is "not done". Conversely any word that its list does not
# hold is an end, such as CONFIGURING, in which a job waits for its node to boot. Ask squeue instead: it is everywhere.
#
# Output seen (beside a warning about sacct):
#   done, if the state is UNKNOWN: False
#   done, if the state is CANCELLED: True
#   done, if the state is PREEMPTED: False
#   done, if the state is CONFIGURING: True
#   done after scancel, with a sacct that fails: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check submitit==1.5.4 2>/dev/null
# stands for a cluster without accounting
printf '#!/bin/sh\necho "Slurm accounting storage is disabled" >&2\nexit 1\n' > "$folder/sacct"
chmod +x "$folder/sacct"
cd "$folder"
cat > ask.py <<'PY'
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

for state in ("UNKNOWN", "CANCELLED", "PREEMPTED", "CONFIGURING"):
    watcher = SlurmInfoWatcher()
    watcher._registered = {"7"}
    watcher._info_dict = {"7": {"JobID": "7", "State": state}}
    print(f"done, if the state is {state}:", watcher.is_done("7", mode="cache"))
print("done after scancel, with a sacct that fails:", SlurmJob("jobs", "8").done(force_check=True))
PY
mkdir jobs
PATH="$folder:$PATH" "$folder/venv/bin/python" ask.py 2>errors | grep -v "WARNING" | tee seen
diff seen - <<'EXPECTED'
done, if the state is UNKNOWN: False
done, if the state is CANCELLED: True
done, if the state is PREEMPTED: False
done, if the state is CONFIGURING: True
done after scancel, with a sacct that fails: False
EXPECTED

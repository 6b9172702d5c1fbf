#!/bin/bash
# The run of a job that is started again and again: begun the first time, resumed from then on.
#
#   deploy/run_or_resume.sh JOB OVERRIDE...
#
# JOB is the same at every start, and becomes a tag of the run. PYTHON is the interpreter; LAUNCHER stands before it,
# as in LAUNCHER=srun. The store is the one that MLFLOW_TRACKING_URI names, else that of this folder.
python=${PYTHON:-.venv/bin/python}
job=$1
shift
trap 'exit 143' TERM # in a container the shell is process 1, which SIGTERM does not end by itself

find_run() { "$python" -m src.runs --tag "job=$job" --limit 1 --ids "$@"; }

# a store that does not answer is no store without runs
run=$(find_run) || exit 1
[ -z "$run" ] && exec $LAUNCHER "$python" -m src.run "$@" "tags.job=$job"
# a run whose machine was lost says RUNNING until five of its signs of life have not come
while [ -n "$(find_run --status RUNNING)" ]; do sleep 20; done
if [ -n "$(find_run --status FINISHED)" ]; then
    echo "job $job: its run $run has finished, nothing is left to do"
    exit 0
fi
exec $LAUNCHER "$python" -m src.run "resume=$run"

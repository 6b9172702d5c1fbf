#!/bin/bash
# One training as a job that goes on, in the same MLflow run, after it was preempted or its time was up:
#
#   sbatch deploy/slurm.sh +experiment=imdb
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 deploy/slurm.sh \
#       +experiment=imdb trainer=ddp trainer.devices=4 trainer.num_nodes=2
#
#SBATCH --job-name=palimpsest
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
#SBATCH --time=04:00:00
LAUNCHER=srun deploy/run_or_resume.sh "$SLURM_JOB_ID" "$@"
code=$?
# 143: it was told to end, two minutes before its time is up
[ $code -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code

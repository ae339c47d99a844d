#!/bin/bash
# Predict without Dask: a job array whose tasks share one product, by its markers.
#   sbatch --array=1-40 cluster/slurm/predict_array.sh run.toml
# Run it again after a failure, with any number of tasks: what is done is skipped.
# All else (cube, stations, forest) must be there: gssm harmonise ... train first.
#SBATCH --job-name=gssm-predict
#SBATCH --cpus-per-task=1
#SBATCH --mem=3G
#SBATCH --time=08:00:00
#SBATCH --output=gssm-predict-%A-%a.log
set -euo pipefail
export OMP_NUM_THREADS=1
exec gssm predict "${1:?give the settings of the run}" \
    --part "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT"

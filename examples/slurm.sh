#!/usr/bin/env bash
# A pipeline as a Slurm job array: slices, then finish, then (if named) more analyses.
#
#   examples/slurm.sh PIPELINE SLICES [ANALYSES] [-- SBATCH OPTIONS OF THE SLICES]
#   examples/slurm.sh concepts.toml 16
#   examples/slurm.sh concepts.toml 16 analyses.toml -- --gres=gpu:1 --mem=16G --time=02:00:00
#
# Each slice is a task of its own and resumes by itself: submit again after a failure, and what is done is
# not done again. `finish` starts when all slices have succeeded; it joins, analyses and writes the report.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 PIPELINE SLICES [ANALYSES] [-- SBATCH OPTIONS]" >&2
  exit 2
fi
pipeline=$1 slices=$2
shift 2
analyses=
if [ $# -gt 0 ] && [ "$1" != -- ]; then
  analyses=$1
  shift
fi
[ $# -eq 0 ] || shift # --

actx plan "$pipeline" # mistakes are told here, not by sixteen failed jobs

submit() { sbatch --parsable --job-name="actx-$1" "${@:3}" --wrap="$2" | cut -d ";" -f 1; }
quoted() { printf '%q' "$1"; }

array=$(submit slice "actx run $(quoted "$pipeline") --slice \$SLURM_ARRAY_TASK_ID/$slices --yes" \
  --array="1-$slices" "$@")
last=$(submit finish "actx finish $(quoted "$pipeline")" --dependency="afterok:$array")
if [ -n "$analyses" ]; then
  run=$(actx plan --json "$pipeline" | python3 -c 'import json, sys; print(json.load(sys.stdin)["out"])')
  last=$(submit analyze "actx analyze $(quoted "$run") $(quoted "$analyses")" --dependency="afterok:$last")
fi
echo "slices: job $array, end: job $last"

#!/bin/sh
# The tables of docs/results.md: rte, mrpc and cb, without and with the target's own adapter among the sources.
#   sh recipes/first-results.sh DATA [OUT]
# DATA has glue/ and super_glue/ laid out like the Hub's parquet repositories. It took 75 minutes on two cores, two runs at
# a time; stopped, the same command goes on.
set -eu
DATA=$1
OUT=${2:-runs/results}
CB=$DATA/super_glue/cb

both() {  # folder, then the target and its options: every method, then ScaLearn with the target's own adapter
    folder=$1
    shift
    scalearn compare "$@" --protocol large --patience 5 --out "$OUT/$folder"
    scalearn compare "$@" --protocol large --patience 5 --out "$OUT/$folder" --own --methods scalearn
}

for task in rte mrpc; do
    both $task-100 $task --data "$DATA" --train-rows 100 --dev-rows 100 --epochs 8 --batch-size 32 --exclude $task
done
both cb --train-file "$CB/train-00000-of-00001.parquet" --test-file "$CB/validation-00000-of-00001.parquet" \
    --text premise,hypothesis --label label --name cb --epochs 8 --batch-size 32
both rte-500 rte --data "$DATA" --train-rows 500 --dev-rows 100 --epochs 3 --batch-size 16 --exclude rte
both mrpc-500 mrpc --data "$DATA" --train-rows 500 --dev-rows 100 --epochs 2 --batch-size 16 --exclude mrpc

#!/bin/sh
# Section 3 of docs/results.md: every single-task and transfer method on seven small targets, and every joint method.
#   sh recipes/methods.sh DATA [OUT]
# DATA has glue/, super_glue/ and disaster_response/ laid out like the Hub's parquet repositories. Stopped, the same
# command goes on; another shell may run it at the same time with another target first (TARGETS="stsb cola").
set -eu
DATA=$1
OUT=${2:-runs/methods}
SINGLE=full,adapter,compacter++,propetl,ia3
TRANSFER=scalearn,scalearn-uniform,scalearn++,scalearn-uniform++,adapterfusion,adaptersoup,lorahub,best-source,uniform-average
JOINT="adapter-m full-m propetl-m hyperformer hyperformer++"

for seeds in 1 2 3; do # all targets with one seed first, so that a table exists early
    for target in ${TARGETS:-cola stsb copa cb mrpc rte disaster-pillars_1d}; do
        case $target in cola | stsb | mrpc | rte) leave_out="--exclude $target" ;; *) leave_out= ;; esac
        # The target's own adapter, trained on the same rows, is the last source, as in the paper.
        # shellcheck disable=SC2086
        scalearn compare "$target" --protocol large --data "$DATA" --own $leave_out --methods $SINGLE,$TRANSFER --seeds $seeds \
            --train-rows 500 --dev-rows 100 --epochs 4 --patience 4 --batch-size 8 --out "$OUT/$target"
    done
done

for method in $JOINT; do
    test -e "$OUT-joint/$method" || scalearn joint rte mrpc cola stsb --data "$DATA" --method "$method" \
        --dev-rows 200 --steps 400 --evaluate-every 100 --batch-size 16 --out "$OUT-joint/$method"
done
python recipes/methods_table.py "$OUT"

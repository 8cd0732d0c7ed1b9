#!/bin/sh
# Rebuilds the shelf that ships: eight source adapters for all-MiniLM-L6-v2.
#   make shelf DATA=folder-with-glue
# Learning rate 1e-3 for adapter and head; epochs by the size of the task; the best epoch by the dev metric.
set -eu
DATA=$1
SHELF=${2:-shelf/minilm}

source_adapter() {  # task, training rows at most, epochs
    [ -d "$SHELF/$1" ] || scalearn train "$1" --data "$DATA" --train-rows "$2" --dev-rows 1000 --epochs "$3" --out "$SHELF/$1"
}

source_adapter mnli 20000 5
source_adapter qnli 20000 4
source_adapter qqp 12000 2
source_adapter sst2 12000 2
source_adapter cola 20000 6
source_adapter stsb 20000 5
source_adapter mrpc 20000 6
source_adapter rte 20000 6
scalearn sources "$SHELF"

#!/bin/sh
# Rebuilds the shelf that ships: eight source adapters for all-MiniLM-L6-v2, in half precision.
#   make shelf DATA=folder-with-glue
# Learning rate 1e-3 for adapter and head; epochs by the size of the task; the best epoch by the dev metric. The rows that
# the shipped sources saw stand in their source.json; with other data under DATA another shelf comes out.
# The cards alone, after a change of their text (in the shelf that stands, nothing else changes):
#   .venv/bin/python -c 'import scalearn as sl; [s.save(s.location, overwrite=True) for s in sl.Shelf("src/scalearn/shelves/minilm")]'
set -eu
DATA=$1
TRAINED=shelf/minilm
SHIPPED=src/scalearn/shelves/minilm

source_adapter() {  # task, training rows at most, epochs
    [ -d "$TRAINED/$1" ] || scalearn train "$1" --protocol large --data "$DATA" --train-rows "$2" --dev-rows 1000 --epochs "$3" \
        --batch-size 32 --patience 5 --learning-rate 1e-3 --head-learning-rate 1e-3 --out "$TRAINED/$1"
}

source_adapter mnli 20000 5
source_adapter qnli 20000 4
source_adapter qqp 12000 2
source_adapter sst2 12000 2
source_adapter cola 20000 6
source_adapter stsb 20000 5
source_adapter mrpc 20000 6
source_adapter rte 20000 6
python - "$TRAINED" "$SHIPPED" <<'END'
import sys
from pathlib import Path
import torch
from scalearn import Shelf
for source in Shelf(sys.argv[1]):
    source.save(Path(sys.argv[2]) / source.name, dtype=torch.float16, overwrite=True)
END
scalearn sources "$SHIPPED"

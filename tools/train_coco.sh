#!/usr/bin/env bash
# Train a model of configs/modern on COCO 2017, evaluate it, and export it.
#
#   tools/train_coco.sh small data/coco          one GPU
#   GPUS=8 tools/train_coco.sh small data/coco   eight GPUs of one machine, the batch divided among them
#   tools/train_coco.sh --try small DIR          200 steps on the val pictures of DIR, backbone from random weights:
#                                                whether all of it works, before days of a GPU are spent
#
# DATA holds train2017/, val2017/ and annotations/panoptic_{train,val}2017 (.json and folder), as COCO publishes them. A run
# that was stopped goes on when the same command is given again.
set -euo pipefail

try=
if [[ ${1:-} == --try ]]; then try=1; shift; fi
if [[ $# -ne 2 || ! -f $(dirname "$0")/../configs/modern/$1.yaml ]]; then
    sed -n '4,7p' "$0" | cut -c3- >&2
    exit 2
fi
name=$1 data=$2 run=runs/coco-$1
settings=(--data.root "$data" --trainer.output "$run" --trainer.devices "${GPUS:-1}")
images=$data/val2017 truth=$data/annotations/panoptic_val2017.json
if [[ $try ]]; then
    run=runs/try-$name images=$data/val truth=$data/annotations/panoptic_val.json
    settings=(
        --data.root "$data" --data.train_images val --data.train_annotations annotations/panoptic_val.json
        --data.val_images val --data.val_annotations annotations/panoptic_val.json --model.backbone.weights none
        --trainer.output "$run" --trainer.max_steps 200 --trainer.batch_size 2 --trainer.val_every 100
        --trainer.checkpoint_every 50 --trainer.ema_decay 0.9 --optimizer.warmup_steps 20
    )
fi

[[ -d $run-data ]] || panoptic-blend check-dataset "$truth" --images "$images" --output "$run-data"
if [[ -f $run/last.ckpt ]]; then
    panoptic-blend train --resume "$run"
else
    panoptic-blend train --config "modern/$name.yaml" "${settings[@]}"
fi
panoptic-blend evaluate --checkpoint "$run" --annotations "$truth" --images "$images" --output "$run/evaluated"
[[ -d $run/onnx ]] || panoptic-blend export --checkpoint "$run" --output "$run/onnx"

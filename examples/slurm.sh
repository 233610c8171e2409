#!/bin/bash
# Train on two machines of four GPUs each: sbatch examples/slurm.sh
# Data, configuration and runs/ must lie on a file system that all machines share.
#SBATCH --job-name=panoptic
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue

set -euo pipefail
first_machine=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Each new start gets a store of its own, without the addresses of processes that died.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

# One torchrun on each machine starts its four processes. When one of them fails, all start again from the last state,
# three times at most; when a machine fails, SLURM gives the whole job again: --restartable goes on in both cases.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 4 --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first_machine:29500" \
    -m panoptic_blend train --config configs/coco/panoptic_r50_3x.yaml --restartable \
    --trainer.devices 4 --trainer.num_nodes "$SLURM_NNODES" \
    --trainer.checkpoint_every 500 --trainer.output runs/slurm

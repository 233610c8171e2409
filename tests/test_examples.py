from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from torch.distributed.run import get_args_parser

from panoptic_blend.commands import train
from panoptic_blend.commands.parsing import parse_with_settings
from panoptic_blend.config_files import read_config

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


QUICK = ("labelme_to_model",)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow)
        for path in sorted(EXAMPLES.glob("*.ipynb"))
    ],
)
def test_notebooks_run_as_they_are(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # what is stored is for readers
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "error:" not in said
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[-1].outputs)


def check_training(words: list[str], nodes: int, processes: int) -> None:
    """Torchrun and `train` know every word, and both are told of the same number of processes."""
    launcher = get_args_parser().parse_args(words)
    assert launcher.module
    assert launcher.training_script == "panoptic_blend"
    assert (int(launcher.nnodes), int(launcher.nproc_per_node)) == (nodes, processes)
    assert launcher.training_script_args[0] == "train"
    options, settings = parse_with_settings(train.make_parser(), launcher.training_script_args[1:])
    assert options.restartable
    trainer = read_config(options.config, settings).trainer
    assert (trainer.num_nodes, trainer.devices) == (nodes, processes)


def test_the_slurm_script_starts_what_torchrun_and_train_understand():
    path = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace('"$SLURM_NNODES"', "2")
    (command,) = (line for line in text.splitlines() if line.startswith("srun "))
    check_training(shlex.split(command.split("torchrun", 1)[1]), 2, 4)
    assert "#SBATCH --nodes=2" in text
    assert "#SBATCH --gpus-per-node=4" in text


def test_the_kubernetes_job_starts_what_torchrun_and_train_understand():
    _, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    pods = job["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert container["command"] == ["torchrun"]
    check_training(container["args"], 2, container["resources"]["limits"]["nvidia.com/gpu"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pods["volumes"]}

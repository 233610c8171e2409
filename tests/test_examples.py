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

from tests.documentation.shell import check_torchrun

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


def test_the_slurm_script_starts_what_torchrun_and_train_understand():
    path = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace('"$SLURM_NNODES"', "2")
    (command,) = (line for line in text.splitlines() if line.startswith("srun "))
    words = shlex.split(command.split("torchrun", 1)[1])
    trainer = check_torchrun(words)
    assert (trainer.num_nodes, trainer.devices) == (2, 4)
    assert "--restartable" in words
    assert "#SBATCH --nodes=2" in text
    assert "#SBATCH --gpus-per-node=4" in text


def test_the_kubernetes_job_starts_what_torchrun_and_train_understand():
    _, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    pods = job["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert container["command"] == ["torchrun"]
    trainer = check_torchrun(container["args"])
    assert (trainer.num_nodes, trainer.devices) == (2, container["resources"]["limits"]["nvidia.com/gpu"])
    assert "--restartable" in container["args"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pods["volumes"]}

import subprocess
import sys

CHECK = """
import sys
import panoptic_blend.coco.annotations, panoptic_blend.coco.predictions
import panoptic_blend.evaluation.pq, panoptic_blend.evaluation.instances
import panoptic_blend.evaluation.semantic, panoptic_blend.evaluation.report
heavy = {"torch", "torchvision", "lightning", "matplotlib"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


WITH_COMMANDS = """
import sys
import panoptic_blend.cli, panoptic_blend.distributed.predicting, panoptic_blend.distributed.scoring
sys.exit("imported" if "ray" in sys.modules else 0)
"""


def test_nothing_imports_ray_that_is_not_asked_for_it():
    assert subprocess.run([sys.executable, "-c", WITH_COMMANDS], capture_output=True, check=False).returncode == 0


def test_reading_and_scoring_start_without_torch():
    assert subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False).stderr == ""

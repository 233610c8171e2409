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


def test_reading_and_scoring_start_without_torch():
    assert subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False).stderr == ""

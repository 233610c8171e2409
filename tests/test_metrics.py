import subprocess
import sys

CHECK = """
import sys
import panoptic_blend as pb
assert pb.metrics.PanopticQuality
import panoptic_blend.metrics
heavy = {"torch", "torchvision", "lightning", "matplotlib"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def test_metrics_for_ones_own_loop_come_without_torch():
    assert subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False).stderr == ""

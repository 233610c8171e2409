"""Thousands of instances in a picture: what a training step takes is the network's, not theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_step_with_three_thousand_instances_stays_under_two_and_a_half_gigabytes() -> None:
    command = [sys.executable, "-m", "benchmarks.instances", "--threads", "2", "--steps", "1", "--one", "3000"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert float(output.split()[-1]) * 2**20 < 2.5e9

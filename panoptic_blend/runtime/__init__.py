"""Runs an exported folder: onnxruntime or OpenVINO, numpy, and no torch."""

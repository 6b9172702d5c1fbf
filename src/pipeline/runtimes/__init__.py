"""Models in the formats of ONNX and OpenVINO: written, compared with their own, and kept."""

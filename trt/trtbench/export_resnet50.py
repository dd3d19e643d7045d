"""Writes torchvision's ResNet-50 graph with random weights, for trtbench:

    python3 export_resnet50.py resnet50.onnx
"""
import sys

import torch
import torchvision

torch.manual_seed(0)
model = torchvision.models.resnet50(weights=None).eval()
torch.onnx.export(
    model, torch.randn(8, 3, 224, 224), sys.argv[1], opset_version=17, dynamo=False,
    input_names=["input"], output_names=["output"],
    dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
)

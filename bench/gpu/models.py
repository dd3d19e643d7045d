"""Writes the model repository of the GPU benchmark:

    python3 models.py FOLDER [WHEEL]

- resnet50: torchvision's graph with random weights, versions 1 and 2 (another
  seed). Its speed is ResNet-50's; its accuracy says only how far precisions
  differ. trt/trtbench measures it, too.
- from the wheel of the Python package rapidocr-onnxruntime (Apache-2.0), two
  trained networks of PaddleOCR: text-recognizer and text-orientation. They are
  given pictures of drawn text; text-orientation has labels, whether a picture is
  upside down.

Version 2 of resnet50 lies beside the repository, in FOLDER/later, to be pushed.
Needs torch, torchvision, numpy and Pillow.
"""

import argparse
import pathlib
import zipfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = "milestone probability latency engine precision candidate forecast history quantize batch stream".split()


def resnet50(path: pathlib.Path, seed: int) -> None:
    import torch
    import torchvision

    torch.manual_seed(seed)
    model = torchvision.models.resnet50(weights=None).eval()
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            # As after training. Untrained ones are alike, and what is alike the exporter keeps once and hands
            # to each convolution by an Identity node, which keeps TensorRT from quantizing it.
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, std=0.1)
            m.running_mean.normal_(std=0.1)
            m.running_var.uniform_(0.5, 1.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        torch.randn(8, 3, 224, 224),
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )


def text_picture(rng: np.random.Generator, height: int, width: int, turned: bool) -> np.ndarray:
    """A picture of two words, float32 [3, height, width] in [-1, 1] as PaddleOCR wants it."""
    picture = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(180, 256, 3)))
    font = ImageFont.load_default(int(height * 0.7))
    at = (int(rng.integers(2, 12)), int(rng.integers(0, 4)))
    text = " ".join(rng.choice(WORDS, 2))
    ImageDraw.Draw(picture).text(at, text, fill=tuple(int(v) for v in rng.integers(0, 90, 3)), font=font)
    if turned:
        picture = picture.rotate(180)
    return (np.asarray(picture, np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("wheel", type=pathlib.Path, nargs="?")
    args = parser.parse_args()
    models, later = args.folder / "models", args.folder / "later"

    resnet50(models / "resnet50" / "1" / "model.onnx", 0)
    resnet50(later / "2" / "model.onnx", 1)
    rng = np.random.default_rng(1)
    images = rng.standard_normal((104, 3, 224, 224), np.float32)
    np.savez(models / "resnet50" / "inputs.npz", input=images)
    np.savez(models / "resnet50" / "calibration.npz", input=rng.standard_normal((128, 3, 224, 224), np.float32))
    if args.wheel is None:
        return

    for model, file, shape in [
        ("text-recognizer", "ch_PP-OCRv4_rec_infer.onnx", (48, 320)),
        ("text-orientation", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (48, 192)),
    ]:
        target = models / model / "1" / "model.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(args.wheel) as wheel:
            target.write_bytes(wheel.read("rapidocr_onnxruntime/models/" + file))
        for name, count, seed in (("inputs.npz", 128, 2), ("calibration.npz", 104, 3)):
            rng = np.random.default_rng(seed)
            turned = [model == "text-orientation" and i % 2 == 1 for i in range(count)]
            np.savez(models / model / name, x=np.stack([text_picture(rng, *shape, t) for t in turned]))
            if any(turned) and name == "inputs.npz":
                np.save(models / model / "labels.npy", np.array(turned, np.int64))


if __name__ == "__main__":
    main()

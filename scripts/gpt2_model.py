#!/usr/bin/env python3
"""Exports a GPT-2 with random weights as Hugging Face's optimum exports every model: with its key-value cache.

    pip install torch transformers==4.36.2 optimum==1.16.2 "numpy<2" onnx onnxruntime
    gpt2_model.py FILE [--layers 12] [--heads 12] [--head-size 64] [--vocabulary 50257] [--positions 4096]

Nothing is downloaded. The sizes are GPT-2's own (124 million parameters), but for the positions. It is no part of
the tests, whose decoder is that of decoder_model.py: it shows that plancast measures what users export.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    for name, size in (("layers", 12), ("heads", 12), ("head-size", 64), ("vocabulary", 50257), ("positions", 4096)):
        parser.add_argument("--" + name, type=int, default=size)
    args = parser.parse_args()

    import torch
    from optimum.exporters.onnx import main_export
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(n_layer=args.layers, n_head=args.heads, n_embd=args.heads * args.head_size,
                        vocab_size=args.vocabulary, n_positions=args.positions)
    with tempfile.TemporaryDirectory() as work:
        GPT2LMHeadModel(config).eval().save_pretrained(work)
        main_export(work, f"{work}/onnx", task="text-generation-with-past")
        args.file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"{work}/onnx/model.onnx", args.file)


if __name__ == "__main__":
    main()

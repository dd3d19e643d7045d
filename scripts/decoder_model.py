#!/usr/bin/env python3
"""Writes a decoder with a key-value cache, in the layout of Hugging Face's exports and with random weights.

    decoder_model.py FILE [--layers 2] [--heads 2] [--head-size 8] [--vocabulary 96] [--positions 512] [--half]

Inputs:  input_ids, attention_mask, position_ids (int64), past_key_values.N.key and .value
         [batch, heads, past_sequence, head size]
Outputs: logits [batch, sequence, vocabulary], present.N.key and .value, which hold the new tokens as well

Its size is free: test_models.py writes a tiny one for the tests, benchmarks write one of the size of GPT-2
(--layers 12 --heads 12 --head-size 64 --vocabulary 50257 --positions 4096).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

I64, BOOL = TensorProto.INT64, TensorProto.BOOL
NOT_ATTENDED = -1e4  # a score that softmax makes zero, within float16


@dataclass(frozen=True)
class Size:
    layers: int = 2
    heads: int = 2
    head_size: int = 8
    vocabulary: int = 96
    positions: int = 512
    half: bool = False

    @property
    def width(self) -> int:
        return self.heads * self.head_size


class _Graph:
    """A graph in the course of being written: each method adds nodes and returns the name of what they compute."""

    def __init__(self, size: Size):
        self.size, self.nodes, self.weights = size, [], []
        self.random = np.random.default_rng(5)
        self.float = np.float16 if size.half else np.float32

    def op(self, kind: str, *inputs: str, name: str, outputs: int = 1, **attributes):
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name: str, array) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        values = self.random.standard_normal(shape, np.float32) / np.sqrt(shape[0])
        return self.constant(name, values.astype(self.float))

    def linear(self, x: str, name: str, rows: int, columns: int) -> str:
        product = self.op("MatMul", x, self.weight(f"{name}.weight", rows, columns), name=f"{name}.product")
        return self.op("Add", product, self.weight(f"{name}.bias", columns), name=name)

    def norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.scale", np.ones(self.size.width, self.float))
        shift = self.constant(f"{name}.shift", np.zeros(self.size.width, self.float))
        return self.op("LayerNormalization", x, scale, shift, name=name, axis=-1)

    def embedding(self) -> str:
        table = self.op("Gather", self.weight("tokens.weight", self.size.vocabulary, self.size.width), "input_ids",
                        name="tokens")
        places = self.op("Gather", self.weight("positions.weight", self.size.positions, self.size.width),
                         "position_ids", name="positions")
        return self.op("Add", table, places, name="embedding")

    def bias(self) -> str:
        """What is added to scores [batch, heads, sequence, total]: a token sees those before it that are not masked."""
        zero, one = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        past = self.op("Gather", self.op("Shape", "past_key_values.0.key", name="past.shape"),
                       self.constant("two", np.array(2)), name="past")
        total = self.op("Gather", self.op("Shape", "attention_mask", name="mask.shape"), one, name="total")
        columns = self.op("Range", zero, total, one, name="columns")
        rows = self.op("Unsqueeze", self.op("Range", past, total, one, name="rows"),
                       self.constant("last", np.array([1])), name="rows.column")
        causal = self.op("LessOrEqual", columns, rows, name="causal")
        kept = self.op("Unsqueeze", self.op("Cast", "attention_mask", name="mask.bool", to=BOOL),
                       self.constant("middle", np.array([1, 2])), name="mask.rank4")
        return self.op("Where", self.op("And", causal, kept, name="attended"),
                       self.constant("attend", np.array(0, self.float)),
                       self.constant("ignore", np.array(NOT_ATTENDED, self.float)), name="bias")

    def attention(self, x: str, bias: str, layer: int) -> str:
        size, at = self.size, f"layer{layer}.attention"
        projected = self.linear(x, f"{at}.qkv", size.width, 3 * size.width)
        heads = []
        for part, kind in zip(self.op("Split", projected, name=f"{at}.split", outputs=3, axis=-1), "qkv", strict=True):
            shaped = self.op("Reshape", part, "heads.shape", name=f"{at}.{kind}.heads")
            heads.append(self.op("Transpose", shaped, name=f"{at}.{kind}", perm=[0, 2, 1, 3]))
        query, key, value = heads
        key, value = (self.op("Concat", f"past_key_values.{layer}.{what}", new, name=f"present.{layer}.{what}", axis=2)
                      for what, new in (("key", key), ("value", value)))
        turned = self.op("Transpose", key, name=f"{at}.turned", perm=[0, 1, 3, 2])
        scores = self.op("Mul", self.op("MatMul", query, turned, name=f"{at}.scores"), "scale", name=f"{at}.scaled")
        weights = self.op("Softmax", self.op("Add", scores, bias, name=f"{at}.biased"), name=f"{at}.weights", axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, value, name=f"{at}.mixed"), name=f"{at}.back",
                        perm=[0, 2, 1, 3])
        return self.linear(self.op("Reshape", mixed, "width.shape", name=f"{at}.joined"), f"{at}.out",
                           size.width, size.width)

    def layer(self, x: str, bias: str, layer: int) -> str:
        at, width = f"layer{layer}", self.size.width
        x = self.op("Add", x, self.attention(self.norm(x, f"{at}.norm1"), bias, layer), name=f"{at}.attended")
        hidden = self.op("Relu", self.linear(self.norm(x, f"{at}.norm2"), f"{at}.up", width, 4 * width),
                         name=f"{at}.relu")
        return self.op("Add", x, self.linear(hidden, f"{at}.down", 4 * width, width), name=f"{at}.out")


def decoder(size: Size) -> onnx.ModelProto:
    kind = TensorProto.FLOAT16 if size.half else TensorProto.FLOAT
    value = helper.make_tensor_value_info
    g = _Graph(size)
    g.constant("heads.shape", np.array([0, 0, size.heads, size.head_size]))
    g.constant("width.shape", np.array([0, 0, size.width]))
    g.constant("scale", np.array(size.head_size**-0.5, g.float))
    x, bias = g.embedding(), g.bias()
    for i in range(size.layers):
        x = g.layer(x, bias, i)
    g.op("MatMul", g.norm(x, "norm"), g.weight("logits.weight", size.width, size.vocabulary), name="logits")

    def cache(prefix: str, length: str):
        return [value(f"{prefix}.{i}.{what}", kind, ["batch", size.heads, length, size.head_size])
                for i in range(size.layers) for what in ("key", "value")]

    total = "past_sequence + sequence"
    graph = helper.make_graph(
        g.nodes, "decoder",
        [value("input_ids", I64, ["batch", "sequence"]), value("attention_mask", I64, ["batch", total]),
         value("position_ids", I64, ["batch", "sequence"]), *cache("past_key_values", "past_sequence")],
        [value("logits", kind, ["batch", "sequence", size.vocabulary]), *cache("present", total)], g.weights)
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                               producer_name="plancast-tests")
    onnx.checker.check_model(result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    for name in ("layers", "heads", "head_size", "vocabulary", "positions"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(Size, name))
    parser.add_argument("--half", action="store_true", help="weights and cache in float16")
    sizes = vars(parser.parse_args())
    file: Path = sizes.pop("file")
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(decoder(Size(**sizes)), str(file))


if __name__ == "__main__":
    main()

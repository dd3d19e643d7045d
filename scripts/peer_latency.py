#!/usr/bin/env python3
"""Times one ONNX model through ONNX Runtime's own Python API: the peer that plancast's latency is compared with.

    peer_latency.py [--inputs inputs.npz] [--windows N] MODEL        N windows, one after another
    peer_latency.py --interactive MODEL                              one window for each line "go" on stdin

Each window prints one line of JSON:

    {"window": 1, "count": 662, "p50_seconds": ..., "p90_seconds": ..., "p99_seconds": ..., "mean_seconds": ...,
     "min_seconds": ..., "max_seconds": ...}

A first line with "ready": true gives versions and settings. With --interactive
two programs can take turns on one machine, so that a passing disturbance or a
clock change meets both; end it with "quit" or by closing stdin.

Inputs and outputs are bound to memory once, as plancast does it, and each query is a run with that binding; --call
passes inputs and gets new outputs with each query instead, as a plain session.run does.

A percentile is the smallest observation with at least that share of the sample
at or below it (nearest rank). Inputs come from --inputs (sample --sample of an
.npz whose arrays have a leading sample axis) or are drawn with a fixed seed;
free dimensions then need --dim.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16, "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32, "tensor(uint32)": np.uint32, "tensor(int64)": np.int64, "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}


def load_feed(session: ort.InferenceSession, path: Path, sample: int) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        missing = [i.name for i in session.get_inputs() if i.name not in arrays.files]
        if missing:
            raise SystemExit(f"{path}: no array for input {missing[0]!r}; it has {', '.join(arrays.files)}")
        feed = {}
        for value in session.get_inputs():
            array = arrays[value.name]
            if array.ndim != len(value.shape) + 1:
                raise SystemExit(f"{path}: array {value.name!r} has {array.ndim} axes; input {value.name!r} has "
                                 f"{len(value.shape)}, so {len(value.shape) + 1} are needed (samples first)")
            if not 0 <= sample < len(array):
                raise SystemExit(f"{path}: array {value.name!r} has {len(array)} samples: no sample {sample}")
            feed[value.name] = np.ascontiguousarray(array[sample])
        return feed


def generate_feed(session: ort.InferenceSession, dims: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feed = {}
    for value in session.get_inputs():
        shape = []
        for axis, dim in enumerate(value.shape):
            size = dim if isinstance(dim, int) else dims.get(dim)
            if size is None:
                raise SystemExit(f"input {value.name!r}: axis {axis} is free ({dim or 'unnamed'}); "
                                 f"give --dim {dim or 'NAME'}=SIZE or --inputs")
            shape.append(size)
        kind = _TYPES.get(value.type)
        if kind is None:
            raise SystemExit(f"input {value.name!r}: cannot generate {value.type}; give --inputs")
        if np.issubdtype(kind, np.floating):
            feed[value.name] = np.asarray(rng.standard_normal(shape), kind)
        else:
            feed[value.name] = np.asarray(rng.integers(0, 2, shape), kind)
    return feed


def bound(session: ort.InferenceSession, feed: dict[str, np.ndarray]):
    """A query with inputs and outputs bound once; outputs that are no tensors are left to ONNX Runtime."""
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for value, array in zip(session.get_outputs(), session.run(None, feed), strict=True):
        if isinstance(array, np.ndarray) and array.dtype != object:
            binding.bind_ortvalue_output(value.name, ort.OrtValue.ortvalue_from_numpy(array))
        else:
            binding.bind_output(value.name)
    return lambda run=session.run_with_iobinding: run(binding)


def window(query, queries: int) -> dict[str, float]:
    nanoseconds = np.empty(queries, np.int64)
    clock = time.perf_counter_ns
    for i in range(queries):
        before = clock()
        query()
        nanoseconds[i] = clock() - before
    seconds = np.sort(nanoseconds) / 1e9

    def percentile(q: float) -> float:
        return float(seconds[max(1, math.ceil(q * queries)) - 1])

    return {"count": queries, "p50_seconds": percentile(0.5), "p90_seconds": percentile(0.9),
            "p99_seconds": percentile(0.99), "mean_seconds": float(seconds.mean()),
            "min_seconds": float(seconds[0]), "max_seconds": float(seconds[-1])}


def dimension(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not name or not size.isdigit() or int(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE with a positive size, such as batch=1")
    return name, int(size)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--inputs", type=Path, help=".npz with one array per input, samples first")
    parser.add_argument("--sample", type=int, default=0, help="which sample of --inputs (default 0)")
    parser.add_argument("--dim", type=dimension, action="append", default=[], metavar="NAME=SIZE",
                        help="size of a free dimension, for generated inputs; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="seed of generated inputs (default 0)")
    parser.add_argument("--threads", type=positive, default=2, help="intra-op threads (default 2)")
    parser.add_argument("--level", choices=_LEVELS, default="all", help="graph optimization level (default all)")
    parser.add_argument("--warmup", type=positive, default=50, help="untimed queries before the first window")
    parser.add_argument("--queries", type=positive, default=662, help="queries per window (default 662)")
    parser.add_argument("--windows", type=positive, default=1, help="windows to run (default 1)")
    parser.add_argument("--call", action="store_true", help="bind nothing: new outputs with each query")
    parser.add_argument("--interactive", action="store_true", help='run a window for each line "go" on stdin')
    arguments = parser.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = _LEVELS[arguments.level]
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(arguments.model), options, providers=["CPUExecutionProvider"])
        feed = (load_feed(session, arguments.inputs, arguments.sample) if arguments.inputs
                else generate_feed(session, dict(arguments.dim), arguments.seed))
        query = (lambda: session.run(None, feed)) if arguments.call else bound(session, feed)
        for _ in range(arguments.warmup):
            query()
    except SystemExit as error:
        sys.exit(f"peer_latency.py: {arguments.model}: {error}")
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        sys.exit(f"peer_latency.py: {arguments.model}: {error}")

    print(json.dumps({"ready": True, "model": str(arguments.model), "onnxruntime": ort.__version__,
                      "threads": arguments.threads, "level": arguments.level, "queries": arguments.queries,
                      "bound": not arguments.call,
                      "inputs": {k: list(v.shape) for k, v in feed.items()}}), flush=True)
    number = 0

    def one() -> None:
        nonlocal number
        number += 1
        print(json.dumps({"window": number, **window(query, arguments.queries)}), flush=True)

    if not arguments.interactive:
        for _ in range(arguments.windows):
            one()
        return
    for line in sys.stdin:
        word = line.strip()
        if word == "quit":
            return
        if word == "go":
            one()
        elif word:
            sys.exit(f'peer_latency.py: unknown command {word!r} on stdin; "go" and "quit" are known')


if __name__ == "__main__":
    main()

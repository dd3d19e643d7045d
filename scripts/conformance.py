#!/usr/bin/env python3
"""Writes ONNX's own node tests, and what ONNX Runtime's Python API makes of them.

    conformance.py FOLDER

Each test of the Python package onnx that the Python API runs becomes a folder:

    FOLDER/<test>/model.onnx     the model
                  inputs.npz     its inputs, with an axis in front: one call
                  outputs.npz    the outputs of onnxruntime.InferenceSession; the items of a sequence are
                                 name/0, name/1, ..., a map is name/keys and name/values
                  random         empty: runs differ, so that only types and shapes can be compared

FOLDER/tests.json says how many tests there are and why the Python API does not run the others. A folder that
this version of the packages and of this script filled is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

NARROW = {
    T.BFLOAT16: np.uint16,
    T.FLOAT8E4M3FN: np.uint8,
    T.FLOAT8E4M3FNUZ: np.uint8,
    T.FLOAT8E5M2: np.uint8,
    T.FLOAT8E5M2FNUZ: np.uint8,
}
SMALL = {T.INT4, T.UINT4, T.FLOAT4E2M1, T.INT2, T.UINT2}
TO_FLOAT = {*NARROW, T.FLOAT4E2M1}

RUNS = 4  # some generators of random numbers repeat the first run once


def options() -> ort.SessionOptions:
    o = ort.SessionOptions()
    o.log_severity_level = 4
    o.intra_op_num_threads = 1
    return o


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), options(), providers=["CPUExecutionProvider"])


def array(value) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    return np.asarray(value)


def wide(a: np.ndarray) -> np.ndarray:
    """The values in a type that NumPy has, as plancast writes and reads them."""
    if a.dtype.kind == "O":
        return a.astype(str)
    if a.dtype == ml_dtypes.bfloat16 or "float8" in str(a.dtype) or "float4" in str(a.dtype):
        return a.astype(np.float32)
    if str(a.dtype) in {"int4", "uint4", "int2", "uint2"}:
        return a.astype(np.int8)
    return a


def element_type(value_info: onnx.ValueInfoProto) -> int:
    return value_info.type.tensor_type.elem_type


def feed(info: onnx.ValueInfoProto, value):
    """What the Python API takes for an input."""
    if value is None or isinstance(value, (list, dict)):
        return [array(v) for v in value] if isinstance(value, list) else value
    a = array(value)
    kind = element_type(info)
    if kind in NARROW:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.array(a, order="C").view(NARROW[kind]), kind)
    return a


def with_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose outputs of types that NumPy lacks are cast to ones that it has."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    changed = False
    for info in copy.graph.output:
        kind = element_type(info)
        if kind not in TO_FLOAT and kind not in SMALL:
            continue
        changed = True
        to = T.FLOAT if kind in TO_FLOAT else T.INT8
        name = info.name
        for node in copy.graph.node:
            node.output[:] = [name + "/narrow" if o == name else o for o in node.output]
            node.input[:] = [name + "/narrow" if i == name else i for i in node.input]
        copy.graph.node.append(helper.make_node("Cast", [name + "/narrow"], [name], to=to))
        info.type.tensor_type.elem_type = to
    return copy if changed else model


def flat(name: str, value, into: dict) -> None:
    if value is None:
        return
    if isinstance(value, list):
        for i, item in enumerate(value):
            flat(f"{name}/{i}", item, into)
    elif isinstance(value, dict):
        into[name + "/keys"], into[name + "/values"] = np.array(list(value)), np.array(list(value.values()))
    else:
        into[name] = wide(np.asarray(value))


def run(model: onnx.ModelProto, feeds: dict) -> list[dict]:
    """The outputs of each run, flattened. A type that NumPy lacks comes from a copy of the model that casts it."""
    original = session(model)
    if any(isinstance(v, ort.OrtValue) for v in feeds.values()):
        values = {
            k: v if isinstance(v, ort.OrtValue) else ort.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()
        }
        original.run_with_ort_values(None, values)
        last = session(with_casts(model))
        runs = [[v.numpy() for v in last.run_with_ort_values(None, values)] for _ in range(RUNS)]
    else:
        cast = with_casts(model)
        if cast is not model:
            original.run_with_ort_values(None, {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()})
        last = session(cast)
        runs = [last.run(None, feeds) for _ in range(RUNS)]
    flattened: list[dict] = [{} for _ in range(RUNS)]
    for outputs, out in zip(runs, flattened, strict=True):
        for info, value in zip(model.graph.output, outputs, strict=True):
            flat(info.name, value, out)
    return flattened


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        a[k].shape == b[k].shape and np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a
    )


def write(folder: Path, case) -> None:
    values, _ = case.data_sets[0]
    initial = {i.name for i in case.model.graph.initializer}
    infos = [i for i in case.model.graph.input if i.name not in initial]
    feeds = {info.name: feed(info, value) for info, value in zip(infos, values, strict=False)}
    outputs, *_, again = run(case.model, feeds)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    arrays = {}
    for info, value in zip(infos, values, strict=False):
        if isinstance(value, list):
            arrays.update({f"{info.name}/{i}": wide(array(v)) for i, v in enumerate(value)})
        elif value is not None:
            a = wide(array(value))
            arrays[info.name] = a if info.type.HasField("optional_type") else a[np.newaxis]
    if arrays:
        np.savez(folder / "inputs.npz", **arrays)
    np.savez(folder / "outputs.npz", **(outputs or {"": np.zeros(0)}))
    if not same(outputs, again):
        (folder / "random").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    versions = f"{onnx.__version__} {ort.__version__} {np.__version__}"
    stamp = hashlib.sha256(versions.encode() + Path(__file__).read_bytes()).hexdigest()
    report = folder / "tests.json"
    if report.exists() and json.loads(report.read_text()).get("stamp") == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases  # slow: it computes every test's data

    np.random.seed(0)
    cases = collect_testcases(None)
    refused, ran = {}, 0
    for case in cases:
        try:
            write(folder / case.name, case)
            ran += 1
        except Exception as e:  # noqa: BLE001: whatever the Python API says is the reason
            shutil.rmtree(folder / case.name, ignore_errors=True)
            refused[case.name] = " ".join(str(e).split())[:200]
    report.write_text(json.dumps({"stamp": stamp, "tests": len(cases), "run": ran, "refused": refused}, indent=1))
    api = f"ONNX Runtime {ort.__version__}'s Python API"
    print(f"{ran} of {len(cases)} node tests of onnx {onnx.__version__} run in {api}", file=sys.stderr)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Generates the small ONNX models and arrays that the Go tests run on.

    test_models.py FOLDER

Each model fits one behaviour. Feeds are named after the graph inputs; b, n are
free dimensions. Weights come from fixed seeds.

Models that run:
    identity.onnx           x float[1,4] -> y = x
    matmul_fp32.onnx        x float[1,64] -> logits float[1,10]; two layers, for accuracy comparisons
    matmul_qdq.onnx         the same in static INT8 with Q/DQ nodes
    matmul_dynamic.onnx     the same in dynamic INT8
    matmul_fp16.onnx        the same in FP16, FP16 inputs and outputs
    dynamic_batch.onnx      x float[b,16] -> y float[b,4]
    symbolic.onnx           x float[1,n,8] -> y float[1,8], the mean over n
    unnamed_dims.onnx       x float[?,8] -> y float[?,8]; the free dimension has no name
    two_inputs.onnx         ids int64[1,8] in 0..99, scale float[1] -> y float[1,8,4]
    scalar_input.onnx       x float[1,4], k int64[] -> y = x * k
    external_data.onnx      x float[1,64] -> y float[1,64]; weights in external_data.bin beside it
    nan.onnx                x float[1,4] -> y: all NaN
    inf.onnx                x float[1,4] -> y: all +Inf
    decoder.onnx            decoder_model.py's smallest: two layers with a key-value cache

Models for limits (they load quickly):
    slow.onnx               x float[1] -> y float[1]; one inference is 10^11 multiply-adds, about a second or more
    endless.onnx            x float[1] -> y float[1]; a loop of 2^62 rounds: a hang
    memory_hungry.onnx      x float[1,1,1] -> y float[1]; one inference needs a tensor of 6 GiB

Models that are refused:
    custom_operator.onnx    operator Frobnicate of domain "x", node "frobnicate_1"
    bad_shapes.onnx         MatMul "mismatch" of [1,4] by [5,2]
    future_opset.onnx       operator set 999
    missing_external.onnx   like external_data.onnx, but its weight file does not exist
    truncated.onnx          the first half of matmul_fp32.onnx
    garbage.onnx            random bytes
    zero_byte.onnx          no bytes
    empty_graph.onnx        a valid file, a graph without nodes, inputs and outputs

Arrays as NumPy writes them:
    arrays.npz              f32 [2,3], f64 [2], f16 [2], i64 [2,1], i32 [2], u8 [2], flag (bool) [2], scalar int64 []
    arrays_compressed.npz   the same, deflated
    matmul_inputs.npz       x float32 [64,1,64]: 64 samples for the matmul models
    matmul_labels.npy       the classes that matmul_fp32.onnx gives those samples, int64 [64]
    fortran.npy             float32 [2,3], column-major
    big_endian.npy          float32 [2,3], big-endian
    objects.npy             a pickled object: to be refused
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import decoder_model

F32, F16, I64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL

node = helper.make_node


def value(name: str, kind: int, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def model(name: str, nodes, inputs, outputs, weights=(), opset=17, domains=(), check=True) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs,
                              [numpy_helper.from_array(np.asarray(w), label) for label, w in dict(weights).items()])
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    result = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="plancast-tests")
    if check:
        onnx.checker.check_model(result)
    return result


def matmul(kind=F32) -> onnx.ModelProto:
    dtype = np.float16 if kind == F16 else np.float32
    rng = np.random.default_rng(1)
    return model("matmul", [
        node("MatMul", ["x", "w1"], ["h1"], "layer_1"), node("Add", ["h1", "b1"], ["h2"], "bias_1"),
        node("Relu", ["h2"], ["h3"], "relu_1"), node("MatMul", ["h3", "w2"], ["logits"], "layer_2"),
    ], [value("x", kind, 1, 64)], [value("logits", kind, 1, 10)], {
        "w1": (rng.standard_normal((64, 32)) / 8).astype(dtype), "b1": (rng.standard_normal(32) / 8).astype(dtype),
        "w2": (rng.standard_normal((32, 10)) / 6).astype(dtype)})


def samples() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((64, 1, 64)).astype(np.float32)


class _Samples(CalibrationDataReader):
    def __init__(self):
        self._feeds = iter([{"x": x} for x in samples()])

    def get_next(self):
        return next(self._feeds, None)


def external(folder: Path, name: str, data: str) -> None:
    weights = np.random.default_rng(3).standard_normal((64, 64)).astype(np.float32) / 8
    graph = model(name, [node("MatMul", ["x", "w"], ["y"], "layer")],
                  [value("x", F32, 1, 64)], [value("y", F32, 1, 64)], {"w": weights})
    onnx.save(graph, folder / f"{name}.onnx", save_as_external_data=True, all_tensors_to_one_file=True, location=data,
              size_threshold=0)


def endless() -> onnx.ModelProto:
    body = helper.make_graph([node("Identity", ["going"], ["still_going"]), node("Sin", ["state"], ["next_state"])],
                             "body", [value("round", I64), value("going", BOOL), value("state", F32, 1)],
                             [value("still_going", BOOL), value("next_state", F32, 1)])
    return model("endless", [node("Loop", ["rounds", "yes", "x"], ["y"], "forever", body=body)],
                 [value("x", F32, 1)], [value("y", F32, 1)],
                 {"rounds": np.array(2**62, np.int64), "yes": np.array(True)})


def slow() -> onnx.ModelProto:
    # The large matrix is made from the input, so that it is not folded into a constant when the model is loaded.
    nodes = [node("Expand", ["x", "shape"], ["m0"], "grow")]
    nodes += [node("MatMul", [f"m{i}", f"m{i}"], [f"p{i}"], f"square_{i}") if j == 0 else
              node("Tanh", [f"p{i}"], [f"m{i + 1}"], f"bound_{i}") for i in range(12) for j in range(2)]
    nodes.append(node("ReduceMean", ["m12"], ["mean"], "mean", keepdims=0))
    nodes.append(node("Reshape", ["mean", "one"], ["y"], "shape_y"))
    return model("slow", nodes, [value("x", F32, 1)], [value("y", F32, 1)],
                 {"shape": np.array([2048, 2048]), "one": np.array([1])})


def write_models(folder: Path) -> None:
    rng = np.random.default_rng(4)

    def save(name: str, graph: onnx.ModelProto) -> None:
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))

    x4, y4 = [value("x", F32, 1, 4)], [value("y", F32, 1, 4)]
    save("identity", model("identity", [node("Identity", ["x"], ["y"], "identity")], x4, y4))
    save("matmul_fp32", matmul())
    save("matmul_fp16", matmul(F16))
    quantize_static(folder / "matmul_fp32.onnx", folder / "matmul_qdq.onnx", _Samples(), per_channel=False,
                    quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    quantize_dynamic(folder / "matmul_fp32.onnx", folder / "matmul_dynamic.onnx", weight_type=QuantType.QUInt8)
    save("dynamic_batch", model("dynamic_batch", [node("MatMul", ["x", "w"], ["y"], "layer")],
                                [value("x", F32, "b", 16)], [value("y", F32, "b", 4)],
                                {"w": rng.standard_normal((16, 4)).astype(np.float32)}))
    save("symbolic", model("symbolic", [node("ReduceMean", ["x"], ["y"], "mean", axes=[1], keepdims=0)],
                           [value("x", F32, 1, "n", 8)], [value("y", F32, 1, 8)]))
    save("unnamed_dims", model("unnamed_dims", [node("Relu", ["x"], ["y"], "relu")],
                               [value("x", F32, None, 8)], [value("y", F32, None, 8)]))
    save("two_inputs", model("two_inputs", [node("Gather", ["table", "ids"], ["rows"], "look_up"),
                                            node("Mul", ["rows", "scale"], ["y"], "scale_rows")],
                             [value("ids", I64, 1, 8), value("scale", F32, 1)], [value("y", F32, 1, 8, 4)],
                             {"table": rng.standard_normal((100, 4)).astype(np.float32)}))
    save("scalar_input", model("scalar_input", [node("Cast", ["k"], ["kf"], "cast", to=F32),
                                                node("Mul", ["x", "kf"], ["y"], "scale")],
                               [*x4, value("k", I64)], y4))
    external(folder, "external_data", "external_data.bin")
    external(folder, "missing_external", "missing_external.bin")
    (folder / "missing_external.bin").unlink()
    save("nan", model("nan", [node("Abs", ["x"], ["a"]), node("Neg", ["a"], ["b"]), node("Sub", ["b", "one"], ["c"]),
                              node("Sqrt", ["c"], ["y"], "root_of_negative")], x4, y4,
                      {"one": np.ones(1, np.float32)}))
    save("inf", model("inf", [node("Abs", ["x"], ["a"]), node("Add", ["a", "big"], ["b"]),
                              node("Exp", ["b"], ["y"], "overflow")], x4, y4, {"big": np.full(1, 1000, np.float32)}))
    save("decoder", decoder_model.decoder(decoder_model.Size()))
    save("slow", slow())
    save("endless", endless())
    save("memory_hungry", model("memory_hungry", [
        node("Expand", ["x", "shape"], ["huge"], "grow"),
        node("ReduceMax", ["huge"], ["most"], "reduce", keepdims=0), node("Reshape", ["most", "one"], ["y"], "shape_y"),
    ], [value("x", F32, 1, 1, 1)], [value("y", F32, 1)],
        {"shape": np.array([1536, 1024, 1024]), "one": np.array([1])}))

    save("custom_operator", model("custom_operator", [node("Frobnicate", ["x"], ["y"], "frobnicate_1", domain="x")],
                                  x4, y4, domains=["x"]))
    save("bad_shapes", model("bad_shapes", [node("MatMul", ["x", "w"], ["y"], "mismatch")], x4,
                             [value("y", F32, 1, 2)], {"w": np.zeros((5, 2), np.float32)}, check=False))
    save("future_opset", model("future_opset", [node("Identity", ["x"], ["y"], "identity")], x4, y4, opset=999,
                               check=False))
    whole = (folder / "matmul_fp32.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[:len(whole) // 2])
    (folder / "garbage.onnx").write_bytes(rng.bytes(2048))
    (folder / "zero_byte.onnx").write_bytes(b"")
    save("empty_graph", model("empty_graph", [], [], [], check=False))


def write_arrays(folder: Path) -> None:
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"f32": grid, "f64": np.array([1.5, -2.5]), "f16": np.array([0.5, 65504], np.float16),
              "i64": np.array([[2**62], [-1]]), "i32": np.array([1, -2], np.int32), "u8": np.array([0, 255], np.uint8),
              "flag": np.array([True, False]), "scalar": np.array(16000)}
    np.savez(folder / "arrays.npz", **arrays)
    np.savez_compressed(folder / "arrays_compressed.npz", **arrays)
    np.save(folder / "fortran.npy", np.asfortranarray(grid))
    np.save(folder / "big_endian.npy", grid.astype(">f4"))
    np.save(folder / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(folder / "matmul_inputs.npz", x=samples())
    run = load(folder / "matmul_fp32.onnx")
    np.save(folder / "matmul_labels.npy",
            np.array([int(run.run(None, {"x": x})[0].argmax()) for x in samples()], np.int64))


def load(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(folder: Path) -> None:
    """Fails unless every model does what its name promises; the costly three are loaded, not run."""
    x4 = {"x": np.ones((1, 4), np.float32)}
    feeds = {
        "identity": x4, "nan": x4, "inf": x4,
        **{f"matmul_{k}": {"x": samples()[0]} for k in ("fp32", "qdq", "dynamic")},
        "matmul_fp16": {"x": samples()[0].astype(np.float16)},
        "dynamic_batch": {"x": np.ones((3, 16), np.float32)}, "symbolic": {"x": np.ones((1, 5, 8), np.float32)},
        "unnamed_dims": {"x": np.ones((2, 8), np.float32)}, "scalar_input": {**x4, "k": np.array(3)},
        "two_inputs": {"ids": np.arange(8)[None], "scale": np.ones(1, np.float32)},
        "external_data": {"x": np.ones((1, 64), np.float32)}}
    results = {name: load(folder / f"{name}.onnx").run(None, feed)[0] for name, feed in feeds.items()}
    assert np.isnan(results["nan"]).all() and np.isposinf(results["inf"]).all()
    assert (results["scalar_input"] == 3).all() and results["dynamic_batch"].shape == (3, 4)
    exact = results["matmul_fp32"]
    for kind in ("qdq", "dynamic", "fp16"):
        error = np.abs(results[f"matmul_{kind}"].astype(np.float32) - exact).max()
        assert 0 < error < 0.1, f"matmul_{kind}.onnx deviates by {error}"
    check_decoder(load(folder / "decoder.onnx"))
    for name in ("slow", "endless", "memory_hungry"):
        load(folder / f"{name}.onnx")
    for name in ("custom_operator", "bad_shapes", "future_opset", "missing_external", "truncated", "garbage",
                 "zero_byte", "empty_graph"):
        try:
            load(folder / f"{name}.onnx")
        except Exception:  # ONNX Runtime's exceptions share no base class
            continue
        raise AssertionError(f"{name}.onnx was accepted by ONNX Runtime {ort.__version__}")


def check_decoder(session: ort.InferenceSession) -> None:
    """Fails unless the last of six tokens gets the same logits when the five before it come from the cache."""
    size = decoder_model.Size()

    def step(first: int, last: int, cache: list[np.ndarray]) -> list[np.ndarray]:
        names = [x.name for x in session.get_inputs()]
        return session.run(None, dict(zip(names, [
            np.arange(first, last)[None] % size.vocabulary, np.ones((1, last), np.int64), np.arange(first, last)[None],
            *cache], strict=True)))

    empty = [np.zeros((1, size.heads, 0, size.head_size), np.float32)] * (2 * size.layers)
    whole = step(0, 6, empty)[0]
    _, *cache = step(0, 5, empty)
    error = np.abs(step(5, 6, cache)[0][:, -1] - whole[:, -1]).max()
    assert error < 1e-5, f"decoder.onnx deviates by {error} when five tokens come from its cache"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder to write; its contents are replaced")
    folder: Path = parser.parse_args().folder
    logging.disable(logging.WARNING)  # the quantizer's advice on preprocessing
    packages = f"{onnx.__version__} {ort.__version__} {np.__version__}"
    recipe = b"".join(Path(module).read_bytes() for module in (__file__, decoder_model.__file__))
    key = hashlib.sha256(recipe + packages.encode())
    stamp = folder / ".recipe"
    if stamp.is_file() and stamp.read_text() == key.hexdigest():
        return
    if folder.exists() and any(folder.iterdir()) and not stamp.exists():
        sys.exit(f"test_models.py: {folder} has files that this script did not write; name an empty or new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made whole beside the folder, then swapped in: a test never sees half a set.
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_models(fresh)
        write_arrays(fresh)
        check(fresh)
        (fresh / ".recipe").write_text(key.hexdigest())
        for path in fresh.iterdir():
            path.chmod(0o644)
        fresh.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    print(f"test models: {len(list(folder.glob('*.onnx')))} in {folder}")


if __name__ == "__main__":
    main()

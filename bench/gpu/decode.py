"""Measures the two phases of a decoder on a GPU, and a decode step against the plain call:

    python3 decode.py --plancast bin/plancast --work WORK [--libraries DIR] [--contexts 512,2000] [--model FILE]

The decoder has the size of GPT-2 (124 million parameters, 12 layers, 12 heads of 64) and random weights;
scripts/decoder_model.py writes it. FILE is another one in the layout of Hugging Face's exports, such as that of
scripts/gpt2_model.py. The plain call is the same step as a workload without a phase: its cache is
copied to the device and back. Prints Markdown. Needs numpy and onnx.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

HEAD = """
repository: {{url: {work}/models, quiet: 0s}}
state: {work}/state
backend: {backend}
precisions: [{precisions}]
tensorrt: {{libraries: [{libraries}], optimization_level: {level}}}
worker: {{timeout: 15min}}
benchmark: {{batches: [1], concurrency: [1], min_window: {window}, max_window: 20s, sweep_window: 1s}}
"""

CONFIG = HEAD + """models:
  - {{match: decoder, dims: {{sequence: 1, past_sequence: {first}}}}}
workloads:
  - {{name: prefill, phase: prefill, shapes: [{{dims: {{sequence: {prompt}}}}}]}}
{decode}
"""

DECODE = """
  - {{name: decode-{n}, phase: decode, shapes: [{{dims: {{past_sequence: {n}}}}}]}}
  - {{name: plain-{n}, shapes: [{{dims: {{"{sequence}": 1, "{past}": {n}, "{mask}": {total}}}}}]}}
"""

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


def runner(program, config):
    """A function that runs plancast with a configuration and returns what it prints; a failure ends this program."""

    def plancast(*words):
        done = subprocess.run([program, *words, f"--config.file={config}"], capture_output=True, text=True, check=False)
        if done.returncode > 1:  # 1 is a threshold that is missed
            sys.exit(done.stdout + done.stderr)
        return done.stdout

    return plancast


def lengths(model):
    """What a model calls the lengths of its tokens, its cache and its mask."""
    import onnx

    inputs = {t.name: t for t in onnx.load(model, load_external_data=False).graph.input}

    def name(tensor, position):
        return inputs[tensor].type.tensor_type.shape.dim[position].dim_param

    return {
        "sequence": name("input_ids", 1),
        "past": name("past_key_values.0.key", 2),
        "mask": name("attention_mask", 1),
    }


def row(record, result):
    """A workload's figures as a line of the table."""
    name = f"| {record['precision']} | {result['name']} |"
    if result.get("failure"):
        return f"{name} **{result['failure']['kind']}**: {result['failure']['message'][:200]} |"
    latency = result.get("latency") or {}
    at = {q["q"]: q["value"] for q in latency.get("quantiles", [])}
    times = [f"{1e3 * t:.3f} ms" if t else "" for t in (latency.get("mean_s"), at.get(0.5), at.get(0.99))]
    generation = result.get("generation") or {}
    tokens = f"{generation['tokens_per_s']:.0f}" if generation else ""
    cache = ", ".join(f"{c['bytes'] / 2**20:.1f} MiB at {c['tokens']}" for c in generation.get("cache", []))
    return f"{name} {' | '.join(times)} | {tokens} | {cache} | {result.get('stable')} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plancast", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libraries", default="")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--backend", default="tensorrt", help="onnxruntime for a rehearsal without a GPU")
    parser.add_argument("--precisions", default="fp32, fp16")
    parser.add_argument("--contexts", default="512,2000", help="tokens in the cache")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prefill")
    parser.add_argument("--window", default="2s")
    parser.add_argument("--small", action="store_true", help="a tiny decoder, for a rehearsal")
    parser.add_argument("--model", type=pathlib.Path, help="another decoder, as an ONNX file")
    args = parser.parse_args()
    work = args.work.resolve()
    model = work / "models" / "decoder" / "1" / "model.onnx"
    sizes = "--positions 4096".split()
    if not args.small:
        sizes += "--layers 12 --heads 12 --head-size 64 --vocabulary 50257".split()
    if args.model:
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(args.model, model)
    elif not model.exists():
        subprocess.run([sys.executable, str(SCRIPTS / "decoder_model.py"), *sizes, str(model)], check=True)
    contexts = [int(n) for n in args.contexts.split(",")]
    names = lengths(model)
    config = work / "decode.yml"
    config.write_text(
        CONFIG.format(
            work=work,
            backend=args.backend,
            precisions=args.precisions,
            libraries=args.libraries,
            level=args.level,
            window=args.window,
            prompt=args.prompt,
            first=contexts[0],
            decode="".join(DECODE.format(n=n, total=n + 1, **names) for n in contexts),
        )
    )

    plancast = runner(args.plancast, config)
    print("```\n" + plancast("check") + "```\n")
    print(plancast("run", "--once", "--format=markdown"))
    print("| precision | workload | mean | P50 | P99 | tokens/s | cache | stable |\n" + "| --- " * 8 + "|")
    records = [json.loads(line) for line in plancast("history", "export", "--format=jsonl").splitlines()]
    for record in records:
        if failure := record.get("failure"):
            print(f"| {record['precision']} | **{failure['kind']}**: {failure['message'][:300]} |")
        for result in (record.get("measurement") or {}).get("workloads", []):
            print(row(record, result))
    for record in records:
        for warning in (record.get("measurement") or {}).get("warnings", []):
            print(f"- {record['precision']}: {warning}")
        for result in (record.get("measurement") or {}).get("workloads", []):
            for warning in result.get("warnings", []):
                print(f"- {record['precision']}, {result['name']}: {warning}")


if __name__ == "__main__":
    main()

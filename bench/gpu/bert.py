"""Measures a BERT under the traffic of a service, and a closed loop beside it:

    python3 bert.py --plancast bin/plancast --work WORK [--libraries DIR]

The model has the size of BERT-base (12 layers, 768 wide, 12 heads) and random weights. Its workloads are a mix of
lengths at 200 and at 2,000 requests a second, with the highest rate that is served in time, the same mix in a
closed loop, and one length at a rate far below capacity beside its closed loop. Prints Markdown. Needs torch,
numpy and onnx.
"""

import argparse
import json
import pathlib

from decode import HEAD, runner

CONFIG = HEAD + """models:
  - {{match: bert, dims: {{sequence: 128}}}}
workloads:
  - {{name: chat, shapes: {mix}, rate: 200/s, concurrency: 4, within: 50ms, max_rate: p99}}
  - {{name: busy, shapes: {mix}, rate: 2000/s, concurrency: 4, within: 50ms}}
  - {{name: loop, shapes: {mix}, concurrency: 4}}
  - {{name: seldom, shapes: [{{dims: {{sequence: 32}}}}], rate: 20/s}}
  - {{name: alone, shapes: [{{dims: {{sequence: 32}}}}]}}
"""

MIX = [
    f"{{weight: {weight}, dims: {{sequence: {n}}}}}"
    for weight, n in [(70, 32), (25, 128), (5, 512)]
]
COLUMNS = [
    *(
        "precision",
        "workload",
        "P50",
        "P99",
        "waiting P99",
        "answers/s",
        "goodput/s",
        "highest rate/s",
    ),
    *("starts after their time, P50 and P99", "stable"),
]


def write_model(path, layers, width, heads):
    """Exports an encoder with token and position embeddings; its one symbolic dimension is sequence."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(30522, width)
            self.places = torch.nn.Embedding(512, width)
            self.blocks = torch.nn.ModuleList(
                torch.nn.ModuleDict(
                    {
                        "joint": torch.nn.Linear(width, 3 * width),
                        "out": torch.nn.Linear(width, width),
                        "first": torch.nn.LayerNorm(width),
                        "up": torch.nn.Linear(width, 4 * width),
                        "down": torch.nn.Linear(4 * width, width),
                        "second": torch.nn.LayerNorm(width),
                    }
                )
                for _ in range(layers)
            )

        def forward(self, tokens):
            length = tokens.shape[1]
            x = self.words(tokens) + self.places(torch.arange(length).unsqueeze(0))
            for block in self.blocks:
                q, k, v = (
                    part.reshape(1, -1, heads, width // heads).transpose(1, 2)
                    for part in block["joint"](x).split(width, dim=2)
                )
                weights = (q @ k.transpose(2, 3) / (width // heads) ** 0.5).softmax(-1)
                mixed = (weights @ v).transpose(1, 2).reshape(1, -1, width)
                x = block["first"](x + block["out"](mixed))
                x = block["second"](
                    x + block["down"](torch.nn.functional.gelu(block["up"](x)))
                )
            return x[:, 0]

    torch.manual_seed(1)
    path.parent.mkdir(parents=True)
    torch.onnx.export(
        Encoder().eval(),
        torch.randint(0, 30522, (1, 128)),
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=["tokens"],
        output_names=["first"],
        dynamic_axes={"tokens": {1: "sequence"}},
    )


def row(precision, result):
    """A workload's figures as a line of the table."""
    name = f"| {precision} | {result['name']} |"
    if result.get("failure"):
        return f"{name} **{result['failure']['kind']}**: {result['failure']['message'][:200]} |"
    if result.get("saturated"):
        return f"{name} cannot be served; keeps up to {result.get('capacity_per_s', 0):.0f}/s |"

    def at(what, q):
        values = {
            x["q"]: x["value"] for x in (result.get(what) or {}).get("quantiles", [])
        }
        return f"{1e3 * values[q]:.3f} ms" if values.get(q) is not None else ""

    starts = result["starts"]
    late = f"{1e6 * starts['p50_s']:.0f} and {1e6 * starts['p99_s']:.0f} us, {starts['late']} late"
    rates = [
        result.get("answered_per_s"),
        result.get("goodput_per_s"),
        result.get("highest_rate_per_s"),
    ]
    figures = [
        at("latency", 0.5),
        at("latency", 0.99),
        at("wait", 0.99),
        *(f"{x:.1f}" if x else "" for x in rates),
    ]
    return f"{name} {' | '.join(figures)} | {late} | {result['stable']} |"


def verdicts(precision, results):
    """Each target of traffic with what was measured."""
    by_name = {r["name"]: r for r in results if not r.get("failure") and not r.get("saturated")}

    def verdict(met, text):
        print(f"\n- {'pass' if met else 'MISS'}, {precision}: {text}")

    for r in by_name.values():
        if not r.get("rate_per_s"):
            continue
        p50, p99 = 1e6 * r["starts"]["p50_s"], 1e6 * r["starts"]["p99_s"]
        verdict(
            p50 < 50 and p99 < 1000,
            f"calls of {r['name']} at {r['rate_per_s']:.0f}/s begin late by a median of {p50:.0f} us"
            f" and a P99 of {p99:.0f} us, {r['starts']['late']} by more than 1 ms (aim: below 50 us and 1 ms)",
        )
    if "seldom" in by_name and "alone" in by_name:
        open_loop, closed = (
            next(q["value"] for q in by_name[name]["latency"]["quantiles"] if q["q"] == 0.5)
            for name in ("seldom", "alone")
        )
        ratio = open_loop / closed
        text = f"P50 of an open loop far below capacity is {ratio:.3f} of the closed loop's (aim: within 2 %)"
        verdict(abs(ratio - 1) <= 0.02, text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plancast", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libraries", default="")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument(
        "--backend",
        default="tensorrt",
        help="onnxruntime for a rehearsal without a GPU",
    )
    parser.add_argument("--precisions", default="fp16")
    parser.add_argument("--window", default="2s")
    parser.add_argument("--layers", type=int, default=12, help="1 for a rehearsal")
    args = parser.parse_args()
    work = args.work.resolve()
    model = work / "models" / "bert" / "1" / "model.onnx"
    if not model.exists():
        write_model(model, args.layers, 768, 12)
    config = work / "bert.yml"
    config.write_text(
        CONFIG.format(
            work=work,
            backend=args.backend,
            precisions=args.precisions,
            libraries=args.libraries,
            level=args.level,
            window=args.window,
            mix="[" + ", ".join(MIX) + "]",
        )
    )

    plancast = runner(args.plancast, config)
    print("```\n" + plancast("check") + "```\n")
    print(plancast("run", "--once", "--format=markdown"))
    print(f"| {' | '.join(COLUMNS)} |\n" + "| --- " * len(COLUMNS) + "|")
    for line in plancast("history", "export", "--format=jsonl").splitlines():
        record = json.loads(line)
        measurement = record.get("measurement") or {}
        warnings = list(measurement.get("warnings", []))
        for result in measurement.get("workloads", []):
            print(row(record["precision"], result))
            warnings += result.get("warnings", [])
        verdicts(record["precision"], measurement.get("workloads", []))
        for warning in warnings:
            print(f"\n- {record['precision']}: {warning}")


if __name__ == "__main__":
    main()

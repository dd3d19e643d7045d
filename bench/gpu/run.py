"""Measures plancast on a GPU, from models to report, and tries what can go wrong:

    python3 models.py WORK WHEEL
    python3 run.py --plancast bin/plancast --work WORK [--libraries DIR] [--level 3]

Prints Markdown. Everything that was measured stays in WORK: the reports, the
history as JSON lines, the metrics. Takes about ten minutes on one H200.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

CONFIG = """
repository: {{url: {models}, quiet: 1s}}
state: {state}
schedule: "@every 2s"
backend: {backend}
precisions: [{precisions}]
tensorrt: {{libraries: [{libraries}], optimization_level: {level}{more}}}
worker: {{timeout: 15min}}
benchmark: {{batches: [1, 8], concurrency: [1, 2, 4], min_window: {window}, sweep_window: 1s}}
models:
  - {{match: text-recognizer, owner: ocr, dims: {{"x/2": 48, "x/3": 320}}}}
  - {{match: text-orientation, owner: ocr, dims: {{"x/2": 48, "x/3": 192}}}}
targets:
  - {{name: launch, criteria: ["p99 < 5ms", "accuracy_deviation < 5%"]}}
"""


class Site:
    """A configuration with its own state folder."""

    def __init__(self, args, name, models, precisions="fp32, fp16, int8", more="", window="2s"):
        self.args, self.state = args, args.work / ("state-" + name)
        # What the builder learnt of kernels serves all sites.
        self.state.mkdir(parents=True, exist_ok=True)
        (args.work / "timings").mkdir(exist_ok=True)
        if not (self.state / "timings").exists():
            (self.state / "timings").symlink_to(args.work / "timings")
        self.file = args.work / (name + ".yml")
        self.file.write_text(
            CONFIG.format(
                models=models,
                state=self.state,
                backend=args.backend,
                precisions=precisions,
                libraries=args.libraries or "",
                level=args.level,
                more=more,
                window=window,
            )
        )

    def plancast(self, *words, env=None):
        begun = time.monotonic()
        log = (self.args.work / (self.file.stem + ".log")).open("a+")
        before = log.seek(0, os.SEEK_END)
        p = subprocess.run(
            [self.args.plancast, *words, f"--config.file={self.file}"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(env or {})},
            check=False,
        )
        with log:
            log.seek(before)
            p.stderr = log.read()
        return p, time.monotonic() - begun

    def records(self):
        p, _ = self.plancast("history", "export", "--format=jsonl")
        return [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]

    @contextlib.contextmanager
    def serving(self, env=None):
        log = (self.args.work / (self.file.stem + ".log")).open("w")
        daemon = subprocess.Popen(
            [self.args.plancast, "serve", f"--config.file={self.file}", f"--web.listen-address={self.args.address}"],
            stdout=log,
            stderr=log,
            env={**os.environ, **(env or {})},
        )
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
            log.close()


def fetch(args, path):
    with urllib.request.urlopen(f"http://{args.address}{path}", timeout=10) as r:
        return r.read().decode()


def until(what, seconds, done):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = done()
        except OSError:
            value = None
        if value:
            return value
        time.sleep(0.1)
    print(f"- **not seen within {seconds} s: {what}**")
    return None


def summary(r):
    """A record in words."""
    f = r.get("failure")
    if not f:
        return "measured"
    return f"**{f['kind']}**, node {f.get('node')!r}, operator {f.get('operator')!r}: {f['message'][:300]}"


def measured(r, *keys):
    """A part of a record's measurement, or None."""
    value = r.get("measurement")
    for key in keys:
        value = (value or {}).get(key)
    return value


def push(source, target):
    hidden = target.parent / ("." + target.name)
    hidden.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, hidden)
    hidden.rename(target)


def three_modes(args):
    print("\n## Three modes\n")
    site = Site(args, "modes", args.work / "models")
    p, _ = site.plancast("check")
    print("```\n" + p.stdout + p.stderr[-2000:] + "```\n")
    for model in args.models.split(","):  # one after the other: what is done is shown should the rest be cut short
        p, took = site.plancast("run", "--once", "--format=markdown", f"--model={model}")
        print(p.stdout or p.stderr[-4000:])
        print(f"\n`plancast run --model={model}` took {took:.0f} s with exit code {p.returncode}.\n", flush=True)
    p, again = site.plancast("run", "--once", "--format=markdown")
    print(p.stdout)
    print(f"\n- the whole again, with nothing new: {again:.1f} s")
    records = site.records()
    (args.work / "modes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    spans = sorted((r["started"], r["finished"]) for r in records)
    overlapping = sum(a[1] > b[0] for a, b in itertools.pairwise(spans))
    print(f"- {len(spans)} jobs, of which {overlapping} began before the one before had ended (several GPUs)")
    for r in records:
        if not r.get("measurement"):
            print(f"- {r['model']} {r['precision']}: {summary(r)}")
            continue
        layers = measured(r, "layers") or {}
        build = measured(r, "plan", "duration") / 1e9
        print(
            f"- {r['model']} {r['precision']}: job {seconds(r):.1f} s, build {build:.1f} s,"
            f" layers {layers.get('total')} {layers.get('by_precision')}, fused {layers.get('fused')},"
            f" unquantized {len(layers.get('unquantized') or [])},"
            f" calibration {json.dumps(measured(r, 'calibration'))}, watched {json.dumps(measured(r, 'telemetry'))}"
        )
    # Other windows are another series; the plans stay what they are.
    other = Site(args, "modes", args.work / "models", window="1s")
    known = len(records)
    _, took = other.plancast("run", "--once", "--model=resnet50", "--format=json")
    reused = [measured(r, "plan", "reused") for r in other.records()[known:]]
    print(f"- resnet50 with another window: {len(reused)} jobs in {took:.0f} s, plans reused: {reused}")


def seconds(r):
    """How long a job took."""
    return (parse(r["finished"]) - parse(r["started"])).total_seconds()


def parse(moment):
    """RFC 3339 with up to nine digits of a second."""
    whole, _, rest = moment.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")


class Timeline:
    """When each stage of the running jobs first appeared."""

    def __init__(self, args, begun):
        self.args, self.begun, self.stages = args, begun, {}

    def poll(self):
        for j in json.loads(fetch(self.args, "/api/v1/report"))["running"]:
            step = (j.get("message") or "").split(",")[0] if j.get("stage") == "build" else None
            key = " ".join(filter(None, (j["precision"], j.get("stage"), step)))
            self.stages.setdefault(key, time.time() - self.begun)

    def __str__(self):
        return ", ".join(f"{key} {at:.1f}" for key, at in self.stages.items())


def arrival(args):
    print("\n## From a version's arrival to its rows\n")
    arrive(args, "a sweep of six points")
    arrive(args, "the benchmark as it is by default", "benchmark: {}")


def arrive(args, what, benchmark=None):
    name = "arrival" + ("-default" if benchmark else "")
    models = args.work / name
    shutil.copytree(args.work / "models" / "resnet50", models / "resnet50", dirs_exist_ok=True)
    site = Site(args, name, models, precisions="fp32, fp16")
    if benchmark:
        site.file.write_text(re.sub("benchmark: .*", benchmark, site.file.read_text()))

    def rows(version):
        found = [r for r in site.records() if r["version"] == version and r.get("measurement")]
        return found if len(found) == 2 else None

    with site.serving():
        if not until("version 1", 300, lambda: rows("1")):
            return
        time.sleep(4)  # until an idle pass has shown what checking for changes and listing the GPUs costs
        idle = re.search(r"^plancast_pass_duration_seconds (\S+)", fetch(args, "/metrics"), re.M)
        push(args.work / "later" / "2", models / "resnet50" / "2")
        arrived = time.time()
        timeline = Timeline(args, arrived)
        found = until("version 2", 300, lambda: timeline.poll() or rows("2"))
        took = time.time() - arrived
        if found:
            builds = sum(measured(r, "plan", "duration") for r in found) / 1e9
            hits = [measured(r, "plan", "timing_cache_hit") for r in found]
            print(
                f"- {what}: FP32 and FP16 rows of version 2 stood {took:.1f} s after it arrived, of which builds"
                f" {builds:.1f} s (timing cache hit: {hits}); the rest {took - builds:.1f} s, aim 30 s"
            )
            jobs = [f"{r['precision']} {seconds(r):.1f} s" for r in found]
            print(f"- jobs: {', '.join(jobs)}; a pass that finds nothing: {idle and idle[1]} s")
            print(f"- stages, first appearance: {timeline}")
            for r in found:
                print(f"- layers of {r['precision']} against version 1: {measured(r, 'layers', 'changes', 'counts')}")
            sys.stdout.flush()
        (args.work / f"{name}-metrics.txt").write_text(fetch(args, "/metrics"))
        (args.work / f"{name}-report.html").write_text(fetch(args, "/"))


def faults(args):
    print("\n## What can go wrong\n")
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    models = args.work / "faulty"

    def save(name, shape, nodes, weights=(), domain=""):
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
        opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(w, n) for n, w in weights])
        path = models / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))

    custom = helper.make_node("Frobnicate", ["x"], ["y"], name="node-of-custom-operator", domain="com.example")
    save("custom-operator", ["N", 64], [custom], domain="com.example")
    save("healthy", ["N", 64], [helper.make_node("Relu", ["x"], ["y"])])
    # 48 tensors of 4 GiB, each needed again on the way back: 192 GiB at a time.
    there = [helper.make_node("Conv", ["x", "first"], ["t0"])]
    there += [helper.make_node("Conv", [f"t{i}", "w"], [f"t{i + 1}"]) for i in range(47)]
    back = [
        helper.make_node("Add", [f"r{i + 1}" if i < 46 else "t47", f"t{i}"], [f"r{i}"]) for i in reversed(range(47))
    ]
    weights = [
        (n, np.full(s, 0.1, np.float32))
        for n, s in (("first", (16, 1, 1, 1)), ("w", (16, 16, 1, 1)), ("last", (1, 16, 1, 1)))
    ]
    last = helper.make_node("Conv", ["r0", "last"], ["y"])
    save("larger-than-the-gpu", [1, 1, 8192, 8192], [*there, *back, last], weights)
    whole = (args.work / "models" / "resnet50" / "1" / "model.onnx").read_bytes()
    path = models / "truncated" / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole[: len(whole) // 2])

    for file in models.glob("*/1/model.onnx"):
        os.utime(file, (time.time() - 60, time.time() - 60))  # not in the course of being copied
    site = Site(args, "faulty", models, precisions="fp32")
    p, took = site.plancast("run", "--once", "--format=text")
    print(f"`plancast run` over them took {took:.0f} s, exit code {p.returncode}.\n")
    for r in site.records():
        print(f"- {r['model']}: {summary(r)}")
    for line in p.stdout.splitlines():
        if "pending" in line or "refused" in line:
            print("- " + line.strip())

    site = Site(args, "workspace", args.work / "models", precisions="fp16", more=", workspace: 1MiB")
    site.plancast("run", "--once", "--model=resnet50", "--format=text")
    for r in site.records():
        print(f"- a workspace of 1 MiB: {summary(r)}")

    for name, env, more in [
        ("the GPU is taken away", {"CUDA_VISIBLE_DEVICES": ""}, ""),
        ("another TensorRT is required", {}, ', require: {tensorrt: "10.7"}'),
    ]:
        site = Site(args, "away", args.work / "models", precisions="fp16", more=more)
        p, _ = site.plancast("run", "--once", "--model=text-orientation", env=env)
        print(f"- {name}: exit code {p.returncode}: {p.stderr.strip().splitlines()[-1][:500]}")

    # A worker killed in mid-build: the next candidate is not concerned.
    models = args.work / "killed"
    for name in ("resnet50", "text-orientation"):
        shutil.copytree(args.work / "models" / name, models / name, dirs_exist_ok=True)
    site = Site(args, "killed", models, precisions="fp16")
    with site.serving() as daemon:

        def worker():
            jobs = json.loads(fetch(args, "/api/v1/report"))["running"]
            if not any(
                j["model"] == "resnet50" and j.get("stage") == "build" and j.get("elapsed_s", 0) > 3 for j in jobs
            ):
                return None
            for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
                with contextlib.suppress(OSError):
                    if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == daemon.pid:
                        return int(stat.parent.name)
            return None

        pid = until("a worker that builds resnet50", 120, worker)
        if pid:
            os.kill(pid, signal.SIGKILL)
        until("both candidates done", 240, lambda: len(site.records()) >= 2)
    for r in site.records():
        print(f"- its worker killed in mid-build: {r['model']}: {summary(r)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plancast", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libraries", default="")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--backend", default="tensorrt", help="onnxruntime for a rehearsal without a GPU")
    parser.add_argument("--address", default="127.0.0.1:9845", help="for the daemon while it is tried")
    parser.add_argument("--models", default="resnet50,text-orientation,text-recognizer", help="of the three modes")
    parser.add_argument("--parts", default="three_modes,arrival,faults")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.plancast = str(pathlib.Path(args.plancast).resolve())
    for part in args.parts.split(","):
        begun = time.monotonic()
        {"three_modes": three_modes, "arrival": arrival, "faults": faults}[part](args)
        print(f"\n({part}: {time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()

"""Measures plancast on a GPU, from models to report, and tries what can go wrong:

    python3 models.py WORK WHEEL
    python3 run.py --plancast bin/plancast --work WORK [--libraries DIR] [--level 3]

Prints Markdown. Everything that was measured stays in WORK: the reports, the
history as JSON lines, the metrics. Takes about eight minutes on one H100.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request

CONFIG = """
repository: {{url: {models}, quiet: 1s}}
state: {state}
schedule: "@every 2s"
backend: {backend}
precisions: [{precisions}]
tensorrt: {{libraries: [{libraries}], optimization_level: {level}{more}}}
worker: {{timeout: 15min, memory: 24GiB}}
benchmark: {{batches: [1, 8], concurrency: [1, 2, 4], min_window: {window}, sweep_window: 1s}}
models:
  - {{match: text-detector, owner: ocr, dims: {{"x/2": 640, "x/3": 640}}}}
  - {{match: text-recognizer, owner: ocr, dims: {{"x/2": 48, "x/3": 320}}}}
  - {{match: text-orientation, owner: ocr, dims: {{"x/2": 48, "x/3": 192}}}}
targets:
  - {{name: launch, criteria: ["p99 < 5ms", "accuracy_deviation < 5%"]}}
"""


class Site:
    """A configuration with its own state folder."""

    def __init__(self, args, name, models, precisions="fp32, fp16, int8", more="", window="2s"):
        self.args, self.state = args, args.work / ("state-" + name)
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

    def plancast(self, *words, env=None, check=False):
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
        if check and p.returncode not in (0, 1):
            print(p.stderr[-4000:])
            raise SystemExit(f"plancast {' '.join(words)} ended with {p.returncode}")
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


def told(r):
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
    p, took = site.plancast("check")
    print("```\n" + p.stdout + p.stderr[-2000:] + "```\n")
    p, took = site.plancast("run", "--once", "--format=markdown", check=True)
    print(p.stdout)
    print(f"\n`plancast run` took {took:.0f} s with exit code {p.returncode}.\n")
    _, again = site.plancast("run", "--once", "--format=json")
    print(f"- the same again, with nothing new: {again:.1f} s")
    (args.work / "modes.jsonl").write_text(site.plancast("history", "export", "--format=jsonl")[0].stdout)
    spans = sorted((r["started"], r["finished"]) for r in site.records())
    overlapping = sum(a[1] > b[0] for a, b in itertools.pairwise(spans))
    print(f"- {len(spans)} jobs, of which {overlapping} began before the one before had ended (several GPUs)")
    for r in site.records():
        if not r.get("measurement"):
            print(f"- {r['model']} {r['precision']}: {told(r)}")
            continue
        layers = measured(r, "layers") or {}
        print(
            f"- {r['model']} {r['precision']}: build {measured(r, 'plan', 'duration') / 1e9:.1f} s,"
            f" layers {layers.get('total')} {layers.get('by_precision')}, fused {layers.get('fused')},"
            f" unquantized {len(layers.get('unquantized') or [])},"
            f" calibration {json.dumps(measured(r, 'calibration'))}, watched {json.dumps(measured(r, 'telemetry'))}"
        )
    # Other windows are another series; the plans stay what they are.
    other = Site(args, "modes", args.work / "models", window="1s")
    known = len(other.records())
    _, took = other.plancast("run", "--once", "--model=resnet50", "--format=json")
    reused = [measured(r, "plan", "reused") for r in other.records()[known:]]
    print(f"- resnet50 with another window: {len(reused)} jobs in {took:.0f} s, plans reused: {reused}")


def arrival(args):
    print("\n## From a version's arrival to its rows\n")
    models = args.work / "arriving"
    shutil.copytree(args.work / "models" / "resnet50", models / "resnet50", dirs_exist_ok=True)
    site = Site(args, "arrival", models, precisions="fp32, fp16")
    with site.serving():

        def rows(version):
            return [r for r in site.records() if r["version"] == version and r.get("measurement")]

        if not until("version 1", 300, lambda: len(rows("1")) == 2):
            return
        push(args.work / "later" / "2", models / "resnet50" / "2")
        arrived = time.time()
        found = until("version 2", 300, lambda: rows("2") if len(rows("2")) == 2 else None)
        took = time.time() - arrived
        if found:
            builds = sum(measured(r, "plan", "duration") for r in found) / 1e9
            hits = [measured(r, "plan", "timing_cache_hit") for r in found]
            print(
                f"- version 2 arrived while the daemon ran: FP32 and FP16 rows after {took:.1f} s, of which builds"
                f" {builds:.1f} s (timing cache hit: {hits}); the rest {took - builds:.1f} s, aim 30 s"
            )
            for r in found:
                print(f"- layers of {r['precision']} against version 1: {measured(r, 'layers', 'changes', 'counts')}")
        (args.work / "metrics.txt").write_text(fetch(args, "/metrics"))
        (args.work / "report.html").write_text(fetch(args, "/"))


def faults(args):
    print("\n## What can go wrong\n")
    import onnx
    from onnx import TensorProto, helper

    models = args.work / "faulty"

    def save(name, operator, width, domain=""):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])
        node = helper.make_node(operator, ["x"], ["y"], name="node-of-" + name, domain=domain)
        opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        path = models / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets), str(path))

    save("custom-operator", "Frobnicate", 64, "com.example")
    save("healthy", "Relu", 64)
    save("wider-than-the-gpu", "Relu", 1 << 26)
    whole = (args.work / "models" / "resnet50" / "1" / "model.onnx").read_bytes()
    path = models / "truncated" / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole[: len(whole) // 2])

    for file in models.glob("*/1/model.onnx"):
        os.utime(file, (time.time() - 60, time.time() - 60))  # not in the course of being copied
    site = Site(args, "faulty", models, precisions="fp32", more=", profile: {max: 512, opt: 512}")
    p, took = site.plancast("run", "--once", "--format=text")
    print(f"`plancast run` over them took {took:.0f} s, exit code {p.returncode}.\n")
    for r in site.records():
        print(f"- {r['model']}: {told(r)}")
    for line in p.stdout.splitlines():
        if "pending" in line or "refused" in line:
            print("- " + line.strip())

    site = Site(args, "workspace", args.work / "models", precisions="fp16", more=", workspace: 1MiB")
    site.plancast("run", "--once", "--model=resnet50", "--format=text")
    for r in site.records():
        print(f"- a workspace of 1 MiB: {told(r)}")

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
        print(f"- its worker killed in mid-build: {r['model']}: {told(r)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plancast", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--libraries", default="")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--backend", default="tensorrt", help="onnxruntime for a rehearsal without a GPU")
    parser.add_argument("--address", default="127.0.0.1:9845", help="for the daemon while it is tried")
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

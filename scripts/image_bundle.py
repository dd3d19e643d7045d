"""Writes config.json of an OCI bundle for crun, from what buildah says of an image on stdin.

usage: image_bundle.py ROOT FOLDER CONFIG MODELS [ARGUMENT...]

The container is what deploy/kubernetes asks for: the image's user, a read-only root, no
capabilities and no way to gain any, /tmp in memory, the state on a volume. It has a network
of its own. Prints the shell command of the image's health check.
"""

import json
import sys
from pathlib import Path

HIDDEN = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"]
FIXED = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def mount(to: str, kind: str, source: str, *options: str) -> dict:
    return {"destination": to, "type": kind, "source": source, "options": list(options)}


def main() -> None:
    root, folder, config, models, *arguments = sys.argv[1:]
    image = json.load(sys.stdin)["Docker"]["config"]
    user, group = (int(n) for n in image["User"].split(":"))
    (state,) = image["Volumes"]
    bundle = {
        "ociVersion": "1.0.2",
        "process": {
            "args": image["Entrypoint"] + (arguments or image["Cmd"]),
            "env": image["Env"],
            "cwd": image["WorkingDir"],
            "user": {"uid": user, "gid": group},
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": True},
        "mounts": [
            mount("/proc", "proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=64k"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777"),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777", "size=2g"),
            mount(state, "bind", str(Path(folder, "state")), "bind", "nosuid", "nodev"),
            mount("/models", "bind", models, "bind", "ro"),
            mount("/etc/plancast/plancast.yml", "bind", config, "bind", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": HIDDEN,
            "readonlyPaths": FIXED,
        },
    }
    Path(folder, "config.json").write_text(json.dumps(bundle))
    print(image["Healthcheck"]["Test"][-1])


main()

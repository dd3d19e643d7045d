"""Runs Grafana's plugin validator on an archive and fails on whatever it finds.

    PLUGINCHECK=plugincheck2 [PLUGINCHECK_CONFIG=config.yaml] validate.py ARCHIVE

Two findings say nothing about the plugin: only Grafana Labs can sign it, and
whether a link answers depends on the network of this machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

NOT_OURS = {"broken-link", "unsigned-plugin"}

archive = sys.argv[1]
command = [os.environ["PLUGINCHECK"], "-jsonOutput", "-sourceCodeUri", f"file://{Path.cwd()}"]
if config := os.environ.get("PLUGINCHECK_CONFIG"):
    command += ["-config", config]
# The validator exits with 1 when it finds an error: that is in its answer, too.
done = subprocess.run([*command, archive], capture_output=True, text=True, timeout=300)
try:
    findings = json.loads(done.stdout)["plugin-validator"]
except (ValueError, KeyError):
    sys.exit(f"the validator gave no answer (exit code {done.returncode}): {done.stderr.strip()[-2000:]}")

found = [x for all_of_one in findings.values() for x in all_of_one or [] if x["Severity"] in ("error", "warning")]
ours = [x for x in found if x["Name"] not in NOT_OURS]
for x in ours:
    print(f"{x['Severity']}: {x['Title']}\n  {x['Detail']}")
print(f"{archive}: {len(ours)} findings; {len(found) - len(ours)} about the signature and unreachable links left aside")
sys.exit(1 if ours else 0)

"""Beside acme and five broken distributions tinify works on, and says of each what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys

EXPECTED = {
    "tinify-acme": ("conflict", "namespace 'acme' is claimed by tinify-acme 0.3.0, tinify-broken-duplicate 1.0"),
    "tinify-broken-duplicate": ("conflict", "namespace 'acme' is claimed by"),
    "tinify-broken-hook": ("broken", "unknown hook 'tinify_componets': did you mean 'tinify_components'?"),
    "tinify-broken-import": ("broken", "No module named 'a_module_that_nobody_has'"),
    "tinify-broken-namespace": (
        "broken",
        "layer 'gdn' is outside the namespace of this plugin: call it 'broken_namespace",
    ),
    "tinify-broken-newer": ("incompatible", "it needs tinify-codec>=99, this is tinify-codec"),
}


def tinify(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tinify.cli", *words], capture_output=True, text=True)


rows = {row["distribution"]: row for row in json.loads(tinify("plugins", "--json").stdout)}
for distribution, (status, reason) in EXPECTED.items():
    row = rows[distribution]
    assert row["status"] == status, row
    assert reason in row["reason"], row
    assert not row["gives"], row
    print(f"{distribution}: {row['status']}: {row['reason']}")

for words, status in [
    (("list",), 0),
    (("validate", "mbt2018-mean"), 0),
    (("show", "gdn"), 0),
    (("plugins", "--require", "acme"), 2),
    (("doctor",), 1),
]:
    run = tinify(*words)
    assert run.returncode == status, (words, run)
    assert "Traceback" not in run.stderr, run.stderr
assert "plugin acme (tinify-acme 0.3.0) is conflict" in tinify("show", "acme/tiny").stderr + tinify("doctor").stdout
assert "from plugin vocabulary" in tinify("show", "gdn").stdout

strict = subprocess.run(
    [
        sys.executable,
        "-c",
        "import os; os.environ['TINIFY_STRICT_PLUGINS'] = '1'; import tinify.cli as c; c.main(['list'])",
    ],
    capture_output=True,
    text=True,
)
assert strict.returncode == 2, strict
assert strict.stderr.count("is broken") == 3, strict.stderr

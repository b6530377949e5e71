"""The trial over links that the kernel imitates, with few inputs: here, or in a user-mode Linux where this kernel has no netem."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from servers import CUT, MODEL, ROOT

from edgerun.errors import OptionError
from edgerun_tools.device import namespaces, network, uml


@pytest.mark.slow
def test_answers_over_a_slow_link_are_those_of_the_whole_model(tmp_path):
    here, there = namespaces.why_not(), uml.why_not()
    if here and there:
        pytest.skip(f"{here}; and a kernel of its own {there}")
    np.savez(tmp_path / "digits.npz", x=np.load(ROOT / "tests/exits/digits.npz")["x"][:4])
    words = ["--model", str(MODEL), "--at", CUT, "--inputs", "4", "--data", str(tmp_path / "digits.npz"), "--device-scale", "1",
             "--link", "LTE", "--json", *(["--uml"] if here else [])]
    done = subprocess.run([sys.executable, "-m", "edgerun_tools.device.network", *words],
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
    ways = json.loads(done.stdout)["ways"]["LTE"]
    assert all(w["bits"] == 4 for name, w in ways.items() if "int8" not in name)
    assert all(w["same"] == 4 for name, w in ways.items() if "early" not in name)
    for transport in ("HTTP", "gRPC"):
        server, split = ways[f"server only, {transport}"], ways[f"split, fp32, {transport}"]
        assert min(server["ms"]) > 50 and min(split["ms"]) > 50  # the round trip was there
        assert server["where"] == split["where"] == {"server": 4}
    assert len(ways) == 2 + 2 * 5


@pytest.mark.parametrize("said", ["", "quic", "http,quic", "http,"])
def test_an_unknown_transport_is_refused_before_anything_is_done(said):
    with pytest.raises(OptionError, match="transport"):
        network.command(transport=said)


def test_the_table_says_what_was_measured():
    way = {"ms": [1.0, 2.0, 3.0], "bits": 3, "same": 2, "where": {"device": 1, "server": 2}}
    text = network.table({"LAN": {"split": way}}, [namespaces.LINKS[0]])
    assert text.splitlines()[-1] == "| split | 2 / 3 | 33 % | 3 of 3 | 2 of 3 |"
    assert "LAN: 1 ms, 100 Mbit/s, 0 % lost" in text

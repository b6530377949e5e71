"""`edgerun serve` as a process: starts, says where, serves, drains on SIGTERM, and says what is wrong with its options."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from running import ALEXNET, DIGITS, ROOT, post, request_of, sample

from edgerun.errors import OptionError
from edgerun.serve import ModelOptions
from edgerun_tools.cli import main
from edgerun_tools.serve import config

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / d) for d in ("runtime", "kernels", "tools")), "OMP_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-m", "edgerun_tools", "serve"]
PORTS = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "-1"]


@contextmanager
def served(*arguments: str):
    """(the process, its first line of log, the lines after it: complete once it ended)."""
    process = subprocess.Popen([*COMMAND, *arguments, *PORTS], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        line = process.stderr.readline()
        assert line.startswith("{"), line + process.stderr.read()
        lines: list[dict] = []
        reader = threading.Thread(target=lambda: lines.extend(json.loads(v) for v in process.stderr))
        reader.start()
        yield process, json.loads(line), lines
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        reader.join(10)
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()


def test_start_serve_drain():
    body = json.dumps(request_of(sample(ALEXNET), "image", id="first")).encode()
    with served(f"alex={ALEXNET}", str(ALEXNET), "--insecure", "--exit-policy", "confidence") as (_, ready, lines):
        assert ready["event"] == "ready" and set(ready["models"]) == {"alex", "model"}
        address = f"127.0.0.1:{ready['http']}"
        code, _, out = post(address, "/v2/models/alex/infer", body)
        assert code == 200
        exit_taken = json.loads(out)["parameters"]["exit"]
        assert post(address, "/v2/models/alex/infer", b"{}")[0] == 400
        with urllib.request.urlopen(f"http://{address}/v2/health/ready", timeout=10) as answer:
            assert answer.status == 200
    ok, wrong, *end = lines
    assert (ok["event"], ok["model"], ok["outcome"], ok["exit"], ok["request_id"]) == ("request", "alex", "ok", exit_taken, "first")
    assert ok["latency_ms"] >= ok["compute_ms"] > 0
    assert (wrong["outcome"], wrong["reason"]) == ("rejected", "syntax")
    assert [e["event"] for e in end] == ["draining", "stopped"] and end[1]["cancelled"] == 0


def test_sigterm_under_load_loses_no_accepted_request():
    """Clients ask until they are told 503, or cannot connect: nobody is left without an answer to what was accepted."""
    body = json.dumps(request_of(sample(ALEXNET), "image")).encode()
    with served(f"alex={ALEXNET}", "--insecure", "--quiet") as (process, ready, _):
        codes: list[int] = []
        broken: list[str] = []

        def client() -> None:
            while True:
                try:
                    code = post(f"127.0.0.1:{ready['http']}", "/v2/models/alex/infer", body)[0]
                except ConnectionRefusedError:
                    return
                except Exception as e:
                    broken.append(repr(e))
                    return
                codes.append(code)
                if code != 200:
                    return

        threads = [threading.Thread(target=client) for _ in range(6)]
        for t in threads:
            t.start()
        while len(codes) < 30:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for t in threads:
            t.join(20)
    assert codes.count(200) >= 30 and set(codes) <= {200, 503}
    # a connection that was opened in the moment the listener closed was never accepted by the application
    assert all("reset" in b.lower() or "RemoteDisconnected" in b for b in broken) and len(broken) <= len(threads)


def test_config(tmp_path):
    (tmp_path / "m").symlink_to(ALEXNET.parent)
    (tmp_path / "d").symlink_to(DIGITS.parent)
    (tmp_path / "serve.toml").write_text('insecure = true\nchecks = "full"\nworkers = 1\n[models]\nalex = "m/model.onnx"\n'
                                         'digits = "d/model.onnx"\n[limits]\nbatch = 2\n[model.alex]\nexit-policy = "confidence"\n')
    with served("--config", str(tmp_path / "serve.toml"), "--checks", "maed", "--quiet") as (_, ready, lines):
        assert ready["workers"] == 1 and list(ready["models"]) == ["alex", "digits"]
        with urllib.request.urlopen(f"http://127.0.0.1:{ready['http']}/v2/models/alex", timeout=10) as answer:
            said = json.load(answer)["parameters"]
        assert (said["checks"], said["exit_policy"]) == ("maed", "confidence")
        x = sample(ALEXNET).repeat(3, axis=0)
        assert post(f"127.0.0.1:{ready['http']}", "/v2/models/alex/infer", json.dumps(request_of(x, "image")).encode())[0] == 413
    assert [line["event"] for line in lines] == ["draining", "stopped"]


WRONG = {
    "nobody to trust": ([str(DIGITS)], 2, "--insecure"),
    "insecure for all": ([str(DIGITS), "--insecure", "--host", "0.0.0.0"], 2, "loopback"),
    "no model": (["--insecure"], 2, "MODEL"),
    "no such file": (["nothing.onnx", "--insecure"], 3, "nothing.onnx"),
    "two of one name": ([str(DIGITS), str(ALEXNET), "--insecure"], 2, "NAME="),
    "a certificate without a key": ([str(DIGITS), "--tls-cert", "a.pem"], 2, "--tls-key"),
    "an exit policy for a model without exits": ([str(DIGITS), "--insecure", "--exit-policy", "dart"], 2, "exits"),
    "a wrong reaction": ([str(DIGITS), "--insecure", "--on-attack", "shout"], 2, "refuse"),
    "a config that is not there": (["--config", "nothing.toml"], 2, "nothing.toml"),
    "a broker's authority without a broker": ([str(DIGITS), "--insecure", "--mqtt-ca", "ca.pem"], 2, "--mqtt "),
    "a detector without a name": ([str(DIGITS), "--insecure", "--detector", "detector.onnx"], 2, "--detector model=FILE"),
    "a host that is an address of the web": ([str(DIGITS), "--insecure", "--allowed-host", "http://a"], 2, "plant.example"),
    "a name that cannot stand in a path": ([f"a b={DIGITS}", "--insecure"], 2, "letters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_start(case, capsys):
    arguments, code, word = WRONG[case]
    assert main(["serve", *arguments, *PORTS]) == code
    text = capsys.readouterr().err
    assert word in text and "Traceback" not in text, text


def test_a_config_with_a_value_of_another_type(tmp_path, capsys):
    (tmp_path / "c.toml").write_text('http-port = "many"\ninsecure = true\n')
    assert main(["serve", str(DIGITS), "--config", str(tmp_path / "c.toml")]) == 2
    assert "many" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["colour = 1", "models = 3", "models = {a = 1}", "[limits]\nsize = 1", "limits = 3", "checks = ",
                                  "model = 3", "[model]\na = 1", "[model.a]\nworkers = 3"])
def test_a_config_with_something_unknown(tmp_path, text):
    (tmp_path / "c.toml").write_text(text)

    def read() -> None:
        found = config.read(str(tmp_path / "c.toml"), ["checks"])
        config.limits(found.get("limits", {}), {})
        config.of_models(found.get("model", {}), ModelOptions())

    with pytest.raises(OptionError):
        read()


def test_paths_of_a_config_are_those_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "c.toml").write_text('keys = "keys.json"\nreplay = "redis://cache:6379/0"\ntls-cert = "/etc/server.pem"\n'
                                     'verify-key = ["ours.pub", "theirs.pub"]\nhost = "localhost"\nmodels = { a = "a.onnx" }\n')
    found = config.read(str(tmp_path / "c.toml"), ["keys", "replay", "tls_cert", "verify_key", "host"])
    assert found == {"keys": str(tmp_path / "keys.json"), "replay": "redis://cache:6379/0", "tls_cert": "/etc/server.pem", "detectors": {},
                     "verify_key": [str(tmp_path / n) for n in ("ours.pub", "theirs.pub")], "host": "localhost",
                     "models": {"a": str(tmp_path / "a.onnx")}}


@pytest.mark.parametrize(("value", "found"), [("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_options_that_may_be_repeated_are_lists_in_a_config(value, found):
    assert config.typed("verify_key", value, None) == config.typed("allowed_host", value, None) == found


@pytest.mark.parametrize("value", [3, [3], [["a"]], {"a": 1}])
def test_and_nothing_else(value):
    with pytest.raises(OptionError, match="list of texts"):
        config.typed("allowed_host", value, None)


def test_a_config_names_the_host_and_the_maker_s_key(tmp_path):
    """Both are used: another Host is answered, and a model that nobody signed is not served."""
    pytest.importorskip("model_signing", reason="needs the extra signing")
    assert main(["keys", "maker", "-o", str(tmp_path / "maker.pem")]) == 0
    (tmp_path / "c.toml").write_text('insecure = true\nallowed-host = "plant.example"\n')
    with served(str(DIGITS), "--config", str(tmp_path / "c.toml"), "--quiet") as (_, ready, _):
        for host, code in (("plant.example", 200), ("other.example", 421)):
            connection = http.client.HTTPConnection("127.0.0.1", ready["http"], timeout=10)
            connection.request("GET", "/v2", headers={"Host": host})
            assert connection.getresponse().status == code
            connection.close()
    (tmp_path / "d.toml").write_text('insecure = true\nverify-key = "maker.pem.pub"\n')
    assert main(["serve", str(DIGITS), "--config", str(tmp_path / "d.toml"), *PORTS]) == 7


def test_names_of_models(tmp_path):
    (tmp_path / "parts").mkdir()
    folder = str(tmp_path / "parts")
    assert config.models(["a.onnx", "x=b.onnx", "x:2=c.onnx", folder]) == {"a": "a.onnx", "x": "b.onnx", "x:2": "c.onnx", "parts": folder}

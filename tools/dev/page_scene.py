"""python tools/dev/page_scene.py OUTDIR: the pictures of docs/monitoring.md, from a server under a load as in the field.

A network cut in two with a detector that is trained here (a minute), six devices that sign what they send and report by MQTT, a seventh
whose features somebody replaces, one that sends more than it may, and strangers; after 70 seconds the page in Chromium, on a screen and on
a phone. Needs EDGERUN_DATA, the extras detect, serve and device, selenium, and Debian's mosquitto and chromium-driver."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np

import edgerun
from edgerun.device import Broker, Device, DeviceKey, Remote, Spool, State, Telemetry
from edgerun.device.message import EXIT_SCORES, tensor_of
from edgerun.errors import OffloadError
from edgerun.splits import Manifest
from edgerun.splits.envelope import HEADER, Signer
from edgerun_tools.cli import main
from edgerun_tools.data import data_root
from edgerun_tools.detect import gradient
from edgerun_tools.detect.attacks import AttackContext, attack, targets
from edgerun_tools.detect.parts import Split

MODEL, AT = "models/zoo/cifar10_resnet18/model.onnx", "/segments.2/segments.2.1/relu/Relu_output_0"
RATES = {"dock-camera-1": 12.0, "dock-camera-2": 9.0, "dock-camera-3": 7.0, "gate-south": 6.0, "line-7.inspection": 15.0, "yard-east": 4.0}
VICTIM, EAGER, SECONDS = "gate-north", "roof-west", 70
SHOTS = {"serving-page.png": (1440, 0, "dark"), "serving-page-phone.png": (360, 1850, "light")}


def run(*words: object) -> None:
    assert main([str(w) for w in words]) == 0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def prepare(here: Path) -> None:
    """parts/ with detector.onnx, keys.json and NAME.key."""
    run("split", MODEL, "--at", AT, "-o", here / "parts", "--json")
    run("detect", "train", here / "parts", "--data", data_root() / "sets/cifar10_train.tar.gz", "--part", "train", "--inputs", 3000,
        "--epochs", 3, "-o", here / "parts/detector.onnx", "--json")
    for name in (*RATES, VICTIM, EAGER):
        run("keys", "new", name, "--ring", here / "keys.json", "-o", here / f"{name}.key")


def attacked(parts: Path, images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features that an attacker behind the head replaced, injected and by gradients, some left as they are, with the exit's scores."""
    manifest = Manifest.read(parts)
    with edgerun.Session(parts / "head.onnx", checks="off") as head:
        found = [head.run(head.preprocess.apply(i)).outputs for i in images]
    x, exits = np.concatenate([f[AT] for f in found]), np.concatenate([f[manifest.head.exits[-1]] for f in found])
    tail = Split.read(parts).tail()
    scene, x, exits = AttackContext.of(tail, x[:300]), x[300:], exits[300:]
    scene.budget = gradient.least_budget(scene, samples=40)
    wanted = targets(tail.predict(x), 10, np.random.default_rng(1))
    made = [attack(n)(scene, x, wanted, np.random.default_rng(2)) for n in ("inject", "pgd")]
    return [(f[k], exits[k]) for k in range(len(x)) for f in (*made, x, x)]


def honest(here: Path, url: str, broker: str, name: str, images: np.ndarray, ended: threading.Event) -> None:
    rng, (each, own) = np.random.default_rng(sum(name.encode())), (here / name, here / f"{name}-spool")
    with closing(Spool(own, name)) as spool, Telemetry(spool, Broker.parse(broker)) as telemetry, Device(
            here / "parts", url, name=name, key=DeviceKey.load(here / f"{name}.key"), state=each, exit_policy="dart", telemetry=telemetry,
            remote={"insecure": True}) as device:
        while not ended.wait(rng.exponential(1 / RATES[name])):
            device.infer(device.session.preprocess.apply(images[rng.integers(len(images))]))


def hostile(here: Path, url: str, messages: list[tuple[np.ndarray, np.ndarray]], ended: threading.Event) -> None:
    state = State(here / VICTIM)
    signer = Signer(VICTIM, DeviceKey.load(here / f"{VICTIM}.key"), state.epoch)
    with Remote(url, "parts", signer=signer, sha256=Manifest.read(here / "parts").tail.sha256, insecure=True) as remote:
        for k, (x, exits) in enumerate(messages * 20):
            if ended.wait(0.3 if k % 40 < 20 else 0.9):
                break
            with suppress(OffloadError):
                remote.ask([tensor_of(AT, x[None]), tensor_of(EXIT_SCORES, exits[None])])
    state.close()


def strangers(here: Path, port: int, eager: list[tuple[np.ndarray, np.ndarray]], ended: threading.Event) -> None:
    """Bodies that were changed, keys that nobody knows, inputs that do not fit, and a device that sends thirty at once."""
    known = Signer(EAGER, DeviceKey.load(here / f"{EAGER}.key"), 1)
    unknown, sha256 = Signer("dock-camera-1", DeviceKey.generate(), 1), Manifest.read(here / "parts").tail.sha256
    path, turn = "/v2/models/parts/infer", 0

    def post(signer: Signer, body: bytes, sent: bytes | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", path, body if sent is None else sent, {HEADER: signer.seal(body, sha256, "POST", path).format()})
        connection.getresponse().read()
        connection.close()

    x, exits = eager[-1]
    listed = [(n, [1, *a.shape], a) for n, a in ((AT, x), (EXIT_SCORES, exits))]
    good = json.dumps({"inputs": [{"name": n, "shape": s, "datatype": "FP32", "data": a.ravel().tolist()} for n, s, a in listed]}).encode()
    while not ended.wait(1.7):
        turn += 1
        if turn % 9 == 0:
            for _ in range(30):
                post(known, good)
        elif turn % 4 == 1:
            post(known, good, good[:-3] + b"1]}")
        elif turn % 4 == 2:
            post(unknown, good)
        else:
            post(known, good.replace(b'"FP32"', b'"FP64"', 1))


def serve(stack: ExitStack, here: Path) -> tuple[int, str]:
    """The port of HTTP and the broker's address, of a server and a broker that end with the stack."""
    broker = free_port()
    (here / "mosquitto.conf").write_text(f"listener {broker} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    (here / "serve.toml").write_text("[limits]\nrate = 40\nburst = 20\n", encoding="utf-8")
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or "mosquitto"
    started = [subprocess.Popen([mosquitto, "-c", here / "mosquitto.conf"], stderr=subprocess.DEVNULL)]
    time.sleep(1)
    started.append(subprocess.Popen(
        [sys.executable, "-m", "edgerun_tools.cli", "serve", f"parts={here / 'parts'}", "--insecure", "--keys", here / "keys.json",
         "--replay", here / "replay.db", "--exit-policy", "confidence", "--mqtt", f"127.0.0.1:{broker}", "--mqtt-store", here / "events.db",
         "--http-port", "0", "--grpc-port", "0", "--metrics-port", "-1", "--config", here / "serve.toml"],
        stderr=subprocess.PIPE, text=True))
    for process in started:
        stack.callback(process.wait)
        stack.callback(process.terminate)
    assert started[1].stderr is not None
    said = []
    for line in started[1].stderr:
        said.append(line)
        if line.startswith("{") and (ready := json.loads(line))["event"] == "ready":
            break
    else:
        raise SystemExit("".join(said))
    threading.Thread(target=lambda: [None for _ in started[1].stderr], daemon=True).start()  # type: ignore[union-attr]
    return int(ready["http"]), f"127.0.0.1:{broker}"


with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
    here, out = Path(folder), Path(sys.argv[1])
    prepare(here)
    images = np.load(data_root() / "sets/cifar10_test_5k.npz")["x"]
    messages = attacked(here / "parts", images[:360])
    port, broker = serve(stack, here)
    url, ended = f"http://127.0.0.1:{port}", threading.Event()
    threads = [threading.Thread(target=honest, args=(here, url, broker, n, images[400:], ended)) for n in RATES]
    threads += [threading.Thread(target=hostile, args=(here, url, messages, ended)),
                threading.Thread(target=strangers, args=(here, port, messages, ended))]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    for name, (width, height, scheme) in SHOTS.items():
        shot = Path(__file__).with_name("page_shot.py")
        subprocess.run([sys.executable, shot, url, out / name, str(width), str(height), scheme], check=True)
    ended.set()
    for thread in threads:
        thread.join()

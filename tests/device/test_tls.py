"""TLS on every way out of the device: HTTP, gRPC and MQTT, with certificates on both sides."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from brokers import Mosquitto, needs_mosquitto
from far import far
from servers import Service

from edgerun.broker import Broker
from edgerun.device import Telemetry, Tls
from edgerun.errors import OptionError

pytest.importorskip("trustme", reason="needs trustme, which makes certificates for tests")
from edgerun_tools.serve import tls


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of our authority's certificates, and of a stranger's."""
    ours, theirs = (tls.write(tmp_path_factory.mktemp("tls"), ["127.0.0.1"], ["cam-1", "collector"], 1) for _ in range(2))
    return {k: str(v) for k, v in ours.items()}, {k: str(v) for k, v in theirs.items()}


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, parts, files):
    """A server that wants certificates and signatures."""
    ours, _ = files
    certificates = ours["server"], ours["server key"], ours["authority"]
    running = Service(tmp_path_factory.mktemp("server"), {"digits": parts}, tls=certificates).start()
    yield running
    running.kill()


def _pair(files, name="cam-1"):
    return {"cert": files[name], "key": files[f"{name} key"]}


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_both_sides_show_certificates(open_device, mutual, files, digits, kind):
    ours, _ = files
    device = open_device(mutual.fresh(), kind, tls=Tls(ours["authority"], **_pair(ours)))
    assert [device.infer(x).where for x in digits[:3]] == ["server"] * 3


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_handshake_may_take_seconds(open_device, mutual, files, digits, kind):
    """As on a radio with a round trip of 600 ms. gRPC once gave every attempt to connect 100 ms."""
    ours, _ = files
    service = mutual.fresh()
    with far(getattr(service, kind), 0.3) as port:
        device = open_device(service, kind, tls=Tls(ours["authority"], **_pair(ours)), url=f"{kind}s://127.0.0.1:{port}",
                             remote={"timeout_s": 20})
        answers = [device.infer(x) for x in digits[:2]]
        assert [(a.where, a.attempts) for a in answers] == [("server", 1)] * 2
        assert answers[0].remote_ms > 1200 and 600 < answers[1].remote_ms < answers[0].remote_ms


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize("which", ["another authority's server", "another authority's device", "no certificate"])
def test_nothing_gets_through_without(open_device, mutual, files, digits, kind, which):
    ours, theirs = files
    shown = {"another authority's server": Tls(theirs["authority"], **_pair(ours)),
             "another authority's device": Tls(ours["authority"], **_pair(theirs)), "no certificate": Tls(ours["authority"])}[which]
    device = open_device(mutual.fresh(), kind, tls=shown, remote={"timeout_s": 3, "retries": 0})
    answer = device.infer(digits[0])
    assert answer.where == "fallback" and answer.detail
    assert answer.reason in ("tls", "unreachable", "timeout")  # TLS 1.3 tells a client late, if at all
    assert mutual.events() == []


def test_files_that_are_no_certificates(open_device, mutual, tmp_path):
    (tmp_path / "x.pem").write_text("nothing")
    for kind in ("http",):
        with pytest.raises(OptionError, match="TLS: expected"):
            open_device(mutual, kind, tls=Tls(str(tmp_path / "x.pem")))
    with pytest.raises(OptionError, match="expected"):
        open_device(mutual, "grpc", tls=Tls(str(tmp_path / "missing.pem")))


@needs_mosquitto
@pytest.mark.parametrize("trusted", [True, False])
def test_mqtt_over_tls_with_the_rights_of_the_manual(spool_at, tmp_path, files, trusted):
    """The access list of docs/device.md, with the certificates' names as users."""
    from edgerun.serve.collector import Collector

    ours, theirs = files
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "acl").write_text("pattern write edgerun/%u/events\npattern read edgerun/%u/stored\n"
                                "user collector\ntopic read edgerun/+/events\ntopic write edgerun/+/stored\n")
    with ExitStack() as stack:
        mosquitto = Mosquitto(folder, f"cafile {ours['authority']}\ncertfile {ours['server']}\nkeyfile {ours['server key']}\n"
                                      f"require_certificate true\nuse_identity_as_username true\nacl_file {folder}/acl\n").start()
        stack.callback(mosquitto.close)
        def reach(held, name):
            return Broker("127.0.0.1", mosquitto.port, True, ours["authority"], **_pair(held, name))

        collector = stack.enter_context(Collector(tmp_path / "c.db", reach(ours, "collector")))
        spool = spool_at(tmp_path / "s.db")
        telemetry = stack.enter_context(Telemetry(spool, reach(ours if trusted else theirs, "cam-1"), patience_s=1))
        telemetry.emit({"k": 1})
        assert telemetry.drain(10 if trusted else 1) is trusted
        assert telemetry.connected is trusted
        assert collector.counts.get("stored", 0) == int(trusted)


"""The worked example of docs/security.md, computed; and its tables against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgerun.serve.status import REASONS
from edgerun.splits.envelope import Envelope, answer_line, digest_of, seal
from edgerun.splits.keys import DeviceKey, verified
from edgerun.splits.replay import SIZE

PAGE = (Path(__file__).resolve().parents[2] / "docs/security.md").read_text(encoding="utf-8")
EXAMPLE = dict(re.findall(r"^(\w+) {2,}(\S.*?)(?: {3,}\(.*)?$", PAGE.split("### A worked example")[1].split("```")[1], re.M))


def test_the_example_is_what_the_code_makes():
    key = DeviceKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(EXAMPLE["private"])))
    assert key.public.hex() == EXAMPLE["public"]
    made = seal(key, "cam-1", 7, 42, digest_of(EXAMPLE["model"].encode()), 1_790_000_000_000, EXAMPLE["body"].encode(), EXAMPLE["method"],
                EXAMPLE["target"])
    assert made.format() == EXAMPLE["line"] and answer_line("cam-1", 7, 42, made.digest) == EXAMPLE["answer"]


def test_the_signed_bytes_are_those_of_the_page():
    """Put together by hand, from the words of the page."""
    line = EXAMPLE["line"]
    signed = "\n".join(["edgerun-split/1", EXAMPLE["method"], EXAMPLE["target"], line[: line.index(";sig=")]]).encode()
    assert verified(bytes.fromhex(EXAMPLE["public"]), Envelope.parse(line).sig, signed)


ORDER = PAGE.split("## In which order")[1].split("## New or not")[0]


@pytest.mark.parametrize("reason", sorted(set(re.findall(r"`([a-z_]+)`", ORDER))))
def test_every_reason_of_the_page_is_one(reason):
    assert reason in REASONS


def test_the_window_is_as_large_as_the_page_says():
    assert f"which of the {SIZE} numbers" in PAGE and f"more than {SIZE - 1} behind" in PAGE

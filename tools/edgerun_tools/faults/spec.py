"""`--fault site=accumulator,step=3,index=17,bit=30`: a fault in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgerun.errors import OptionError
from edgerun.executors.base import Fault
from edgerun_tools.faults.models import FOREVER
from edgerun_tools.faults.places import Place

KEYS = ("site", "step", "index", "bit", "bits", "mask", "mode", "runs")


def parse(text: str, known: Sequence[Place]) -> Fault:
    """"site=accumulator,step=3,index=17,bit=30" → the fault. OptionError says what is missing, unknown or out of range."""
    told: dict[str, str] = {}
    for entry in filter(None, (e.strip() for e in text.split(","))):
        key, _, value = entry.partition("=")
        if key not in KEYS or not value:
            raise OptionError(f"--fault: expected {', '.join(KEYS)}, each as NAME=VALUE and separated by commas; found {entry!r}")
        told[key] = value
    sites = list(dict.fromkeys(p.site for p in known))
    if told.get("site") not in sites:
        raise OptionError(f"--fault: expected site= one of {', '.join(sites)} (with these checks); found {told.get('site', 'none')}")
    steps = {p.step: p for p in known if p.site == told["site"]}
    step = _whole(told, "step")
    if step not in steps:
        raise OptionError(f"--fault: site {told['site']}: expected step= one of {', '.join(map(str, steps))}; found {step}; --list "
                          "shows them")
    place, index = steps[step], _whole(told, "index", 0)
    last = (max(1, place.elements) - 1) * place.stride
    if not 0 <= index <= last:
        raise OptionError(f"--fault: site {place.site}, step {step}: expected index= 0 … {last}; found {index}")
    runs = _whole(told, "runs", 1)
    mode = told.get("mode", "flip")
    if mode not in ("flip", "set", "clear"):
        raise OptionError(f"--fault: expected mode= flip, set or clear; found {mode!r}")
    return Fault(place.site, step, index, _mask(told, place), mode, runs if runs > 0 else FOREVER)


def _whole(told: Mapping[str, str], key: str, default: int | None = None) -> int:
    if key not in told:
        if default is None:
            raise OptionError(f"--fault: expected {key}=; found none")
        return default
    try:
        return int(told[key], 0)
    except ValueError as e:
        raise OptionError(f"--fault: expected a whole number for {key}=; found {told[key]!r}") from e


def _mask(told: Mapping[str, str], place: Place) -> int:
    given = [k for k in ("bit", "bits", "mask") if k in told]
    if not place.bits:
        if given:
            raise OptionError(f"--fault: site {place.site} has no bits; leave {given[0]}= out")
        return 1
    if len(given) != 1:
        raise OptionError(f"--fault: site {place.site}: expected one of bit=, bits= and mask=; found {', '.join(given) or 'none'}")
    if given == ["mask"]:
        mask = _whole(told, "mask")
    else:
        bits = [_whole({"bit": b}, "bit") for b in told[given[0]].split("+")]
        if not all(0 <= b < place.bits for b in bits):
            raise OptionError(f"--fault: site {place.site}, step {place.step}: expected bits 0 … {place.bits - 1}; found {told[given[0]]}")
        mask = sum(1 << b for b in set(bits))
    if not 0 < mask < 1 << place.bits:
        raise OptionError(f"--fault: site {place.site}, step {place.step}: expected a mask of 1 to {place.bits} bits; found {mask:#x}")
    return mask

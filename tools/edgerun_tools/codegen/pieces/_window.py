"""The geometry of windows, as `er_window` holds it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace

from edgerun_tools.codegen.site import Site


@dataclass(frozen=True)
class Window:
    """er_window; sizes in elements. pads at the end are known from the sizes."""

    batch: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    group: int = 1

    @property
    def is_pixelwise(self) -> bool:
        """Whether every output pixel reads the input pixel at its place, and nothing else."""
        return astuple(self)[7:15] == (1, 1, 1, 1, 1, 1, 0, 0) and (self.in_h, self.in_w) == (self.out_h, self.out_w)

    def in_rows(self, width: int) -> Window:
        """The same pixelwise product over rows of `width` pixels, which divides their number."""
        height = self.batch * self.in_h * self.in_w // width
        return replace(self, batch=1, in_h=height, out_h=height, in_w=width, out_w=width)

    def lying(self) -> Window:
        """The same with height and width exchanged, where images are one pixel wide: kernels take neighbours in a row together."""
        if (self.in_w, self.out_w, self.kernel_w, self.pad_left) != (1, 1, 1, 0) or self.in_h == 1:
            return self
        return replace(self, in_h=1, in_w=self.in_h, out_h=1, out_w=self.out_h, kernel_h=1, kernel_w=self.kernel_h, stride_h=1,
                       stride_w=self.stride_h, dilation_h=1, dilation_w=self.dilation_h, pad_top=0, pad_left=self.pad_top)

    def emit(self, site: Site) -> str:
        """The constant struct."""
        return site.record("window", "er_window", **{f.name: getattr(self, f.name) for f in fields(self)})


def window(site: Site, kernel: tuple[int, ...]) -> Window:
    """Of a step whose operand 0 and result 0 are images [N, H, W, C]."""
    x, y = site.slot(0).shape, site.out().shape
    strides, dilations, pads = site.ints("strides", (1, 1)), site.ints("dilations", (1, 1)), site.ints("pads", (0, 0, 0, 0))
    sizes = (*x, *y[1:], *kernel, *strides, *dilations, *pads[:2], site.integer("group", 1))
    return Window(**{f.name: size for f, size in zip(fields(Window), sizes, strict=True)})


def rows_of(pixels: int, most: int = 16) -> int:
    """A width for images that are only a number of pixels: the largest even divisor up to `most`, else (a pixel of every row is then alone)
    the largest up to twice that."""
    divisors = [k for k in range(1, 2 * most + 1) if pixels % k == 0]
    return max((k for k in divisors if k % 2 == 0 and k <= most), default=divisors[-1])

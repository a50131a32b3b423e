"""Compile the Triton kernels down to machine code of a GPU, and print their names: ``test_triton`` runs this.

Triton brings its own assembler, so that neither a GPU nor CUDA is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from chainrule.kernels import nade_triton, sampling_triton

HOPPER = GPUTarget("cuda", 90, 32)
WHOLE = {"row", "order", "integers", "layers", "complete", "features"}
# What tells a size from a tensor in a signature.
SIZES = {
    "n", "n_variables", "width", "n_params", "spacing", "n_segments", "n_blocks", "start_stride",
    "output_stride", "n_features", "n_units", "n_layers",
}  # fmt: skip


def compile_kernel(kernel: triton.JITFunction, number: str, warps: int, constants: dict[str, int]) -> None:
    """Compile one kernel for float32 ("fp32") or float64 ("fp64") tensors; errors are the compiler's."""
    types = {
        name: "i32" if name in SIZES else "*i64" if name in WHOLE else f"*{number}"
        for name in kernel.arg_names
    }
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    assert triton.compile(source, target=HOPPER, options={"num_warps": warps}).asm["cubin"]


def variants() -> Iterator[tuple[str, triton.JITFunction, int, dict[str, int]]]:
    """Yield the names of kernels, the kernels, their numbers of warps and their constants."""
    shape = {"ROWS": nade_triton._ROWS, "UNITS": nade_triton._UNITS}
    for activation in range(3):
        constants = {"ACTIVATION": activation, **shape}
        yield "nade_forward", nade_triton._forward, nade_triton._ROWS, constants
        yield "nade_backward", nade_triton._backward, nade_triton._ROWS, constants
    # Sizes of 1 are constants to the compiler.
    constants = {"ACTIVATION": 1, **shape, **dict.fromkeys(SIZES & set(nade_triton._backward.arg_names), 1)}
    yield "nade_forward", nade_triton._forward, nade_triton._ROWS, constants | {"n_blocks": 1}
    yield "nade_backward", nade_triton._backward, nade_triton._ROWS, constants
    for activation in range(7):
        constants = {"ACTIVATION": activation, "FAMILY": 0, "ROWS": 1, "UNITS": 128, "PARAMS": 1}
        yield "sample_nade", sampling_triton._draw_nade, 1, constants
    for family, params in ((1, 4), (3, 32)):
        constants = {"ACTIVATION": 1, "FAMILY": family, "ROWS": 4, "UNITS": 512, "PARAMS": params}
        yield "sample_nade", sampling_triton._draw_nade, 4, constants
        for everything in (False, True):
            paths = {"RESIDUAL": everything, "DIRECT": everything}
            yield "sample_made", sampling_triton._draw_made, 4, constants | paths
    ones = dict.fromkeys(("n", "n_variables", "n_units", "n_layers", "n_features", "output_stride"), 1)
    paths = {"RESIDUAL": True, "DIRECT": True, "FAMILY": 0, "ROWS": 1, "UNITS": 128, "PARAMS": 1}
    yield "sample_made", sampling_triton._draw_made, 4, {"ACTIVATION": 0, **paths, **ones}


if __name__ == "__main__":
    for name, kernel, warps, constants in variants():
        for number in ("fp32", "fp64") if constants["ACTIVATION"] == 1 else ("fp32",):
            compile_kernel(kernel, number, warps, constants)
        print(name)

"""The selective scan of state-spaces/mamba, forward and with gradients, at shapes of its own."""

# pyright: reportMissingImports=false
import types
from pathlib import Path

from timing import median_ms

from ssm_bench.bench.operations import OPERATIONS
from ssm_bench.bench.recording import Findings
from ssm_bench.errors import UserError


def measure(clone: Path) -> Findings:
    """Times the CUDA kernels by themselves, at the shapes of `ssm-bench bench scan`.

    Raises:
        UserError: there is no NVIDIA GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError("the selective scan of mamba runs on an NVIDIA GPU only; this machine has none")
    kernels = build(clone)
    note = "float32, with D, z, delta_bias and softplus; channels before time, as its kernels want them; medians"
    found = Findings(notes=[note])
    for shape in OPERATIONS["selective_scan"].shapes:
        with torch.device("cuda"):
            found.add(_at(kernels, *shape), backend="cuda", shape=shape)
    return found


def _at(kernels: types.ModuleType, b: int, l: int, d: int, n: int) -> dict[str, float]:
    """Batch, length, channels, states."""
    import torch

    torch.manual_seed(0)
    u, delta, z, gradient = (torch.randn(b, d, l) for _ in range(4))
    A, B, C = -torch.rand(d, n) - 0.5, torch.randn(b, 1, n, l), torch.randn(b, 1, n, l)
    D, bias = torch.randn(d), torch.rand(d) - 4.0

    def forward():
        return kernels.fwd(u, delta, A, B, C, D, z, bias, True)

    def both():
        out, x, _ = forward()
        return kernels.bwd(u, delta, A, B, C, D, z, bias, gradient, x, out, None, True, False)

    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    found = {"forward_ms": median_ms(forward, torch.cuda.synchronize)["step_ms"]}
    torch.cuda.reset_peak_memory_stats()
    found["forward_backward_ms"] = median_ms(both, torch.cuda.synchronize)["step_ms"]
    return found | {"temporary_bytes": int(torch.cuda.max_memory_allocated() - before)}


def build(clone: Path) -> types.ModuleType:
    """Compiles csrc/selective_scan for float32 alone, or finds it compiled."""
    from torch.utils.cpp_extension import load

    folder, source = clone / "build" / "peers", clone / "csrc" / "selective_scan"
    folder.mkdir(parents=True, exist_ok=True)
    files = ("selective_scan.cpp", "selective_scan_fwd_fp32.cu", "selective_scan_bwd_fp32_real.cu")
    types_allowed = ("HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_OPERATORS", "BFLOAT16_CONVERSIONS")
    types_allowed += ("BFLOAT162_OPERATORS", "BFLOAT162_CONVERSIONS")
    return load(
        "selective_scan_cuda",
        [str(source / file) for file in files],
        extra_include_paths=[str(source)],
        # As in their setup.py.
        extra_cflags=["-O3"],
        extra_cuda_cflags=["-O3", "--use_fast_math", "-lineinfo", "--expt-relaxed-constexpr", "--expt-extended-lambda"]
        + [f"-U__CUDA_NO_{name}__" for name in types_allowed],
        build_directory=str(folder),
    )

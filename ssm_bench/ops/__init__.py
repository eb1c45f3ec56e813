"""The mathematics of long-sequence models: pure functions on arrays, layout (b, l, h), no Flax."""

from ssm_bench.ops.attention import attention, compute_dtype, local_attention, rotary
from ssm_bench.ops.backends import use_backend
from ssm_bench.ops.block_sparse import block_sparse_attention, choose_random_blocks
from ssm_bench.ops.convolution import bidirectional_conv, causal_conv
from ssm_bench.ops.delta_rule import delta_rule, gated_delta_rule, unit_length
from ssm_bench.ops.dense import dense_recurrence
from ssm_bench.ops.diagonal import diagonal_ssm, diagonal_ssm_extend, diagonal_ssm_step
from ssm_bench.ops.discretization import discretization_rule, discretize_bilinear, discretize_zoh
from ssm_bench.ops.dplr import DPLRSystem, dplr_kernel, dplr_step, dplr_system, restore_output, truncate_output
from ssm_bench.ops.fourier import fourier_mixing
from ssm_bench.ops.gated import gru, lstm
from ssm_bench.ops.gated_linear_attention import gated_linear_attention
from ssm_bench.ops.hippo import (
    hippo_dplr,
    hippo_fout,
    hippo_fout_normal,
    hippo_lagt,
    hippo_legs,
    hippo_legs_diagonal,
    hippo_legs_normal,
    hippo_legt,
    hippo_legt_normal,
    s4d_inv,
    s4d_lin,
    s4d_real,
)
from ssm_bench.ops.initializers import (
    as_complex,
    as_pairs,
    complex_normal,
    log_input_gain,
    log_uniform_step,
    ring,
    softplus_step,
)
from ssm_bench.ops.krylov import dense_kernel, discretize_dense
from ssm_bench.ops.linear_attention import (
    KeySums,
    causal_linear_attention,
    elu_features,
    linear_attention,
    orthogonal_gaussian,
    relu_features,
    softmax_key_features,
    softmax_query_features,
)
from ssm_bench.ops.lsh import lsh_attention, lsh_buckets
from ssm_bench.ops.mlstm import MatrixMemory, mlstm
from ssm_bench.ops.nystrom import nystrom_attention
from ssm_bench.ops.recurrence import linear_recurrence
from ssm_bench.ops.relative import attend, relative_attention, rotary_bias
from ssm_bench.ops.rg_lru import rg_lru
from ssm_bench.ops.selective_scan import selective_scan
from ssm_bench.ops.sinkhorn import sinkhorn, sinkhorn_attention
from ssm_bench.ops.sparse_attention import (
    SPARSE_PATTERNS,
    block_attention,
    column_attention,
    sparse_attention,
    window_attention,
    with_global_rows,
)
from ssm_bench.ops.ssd import ssd
from ssm_bench.ops.ssm_kernels import diagonal_kernel, softmax_recurrence, sum_of_powers
from ssm_bench.ops.timestep_norm import Moments, timestep_norm

__all__ = [
    "SPARSE_PATTERNS",
    "DPLRSystem",
    "KeySums",
    "MatrixMemory",
    "Moments",
    "as_complex",
    "as_pairs",
    "attend",
    "attention",
    "bidirectional_conv",
    "block_attention",
    "block_sparse_attention",
    "causal_conv",
    "causal_linear_attention",
    "choose_random_blocks",
    "column_attention",
    "complex_normal",
    "compute_dtype",
    "delta_rule",
    "dense_kernel",
    "dense_recurrence",
    "diagonal_kernel",
    "diagonal_ssm",
    "diagonal_ssm_extend",
    "diagonal_ssm_step",
    "discretization_rule",
    "discretize_bilinear",
    "discretize_dense",
    "discretize_zoh",
    "dplr_kernel",
    "dplr_step",
    "dplr_system",
    "elu_features",
    "fourier_mixing",
    "gated_delta_rule",
    "gated_linear_attention",
    "gru",
    "hippo_dplr",
    "hippo_fout",
    "hippo_fout_normal",
    "hippo_lagt",
    "hippo_legs",
    "hippo_legs_diagonal",
    "hippo_legs_normal",
    "hippo_legt",
    "hippo_legt_normal",
    "linear_attention",
    "linear_recurrence",
    "local_attention",
    "log_input_gain",
    "log_uniform_step",
    "lsh_attention",
    "lsh_buckets",
    "lstm",
    "mlstm",
    "nystrom_attention",
    "orthogonal_gaussian",
    "relative_attention",
    "relu_features",
    "restore_output",
    "rg_lru",
    "ring",
    "rotary",
    "rotary_bias",
    "s4d_inv",
    "s4d_lin",
    "s4d_real",
    "selective_scan",
    "sinkhorn",
    "sinkhorn_attention",
    "softmax_key_features",
    "softmax_query_features",
    "softmax_recurrence",
    "softplus_step",
    "sparse_attention",
    "ssd",
    "sum_of_powers",
    "timestep_norm",
    "truncate_output",
    "unit_length",
    "use_backend",
    "window_attention",
    "with_global_rows",
]

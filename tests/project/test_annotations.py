"""Shapes and types in annotations: public functions state them, and calls under a runtime checker prove them.

The checker wraps functions while their modules are imported, so the calls run in a process of their own.
"""

import inspect
import subprocess
import sys
import typing
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import AbstractArray, TypeCheckError

from ssm_bench import ops, registry
from ssm_bench.network.backbone import Classifier, Embedding, Numbers
from ssm_bench.network.denoiser import Denoiser
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.scaffold import Scaffold
from ssm_bench.testing import WIDTH
from tests.network.test_contract import MIXERS, make_block, make_mixer

ROOT = Path(__file__).parents[2]

OPERATIONS = [name for name in ops.__all__ if callable(getattr(ops, name)) and not isinstance(getattr(ops, name), type)]
RECORDS = [name for name in ops.__all__ if isinstance(getattr(ops, name), type)]


def leaves(annotation):
    """The types that an annotation is composed of."""
    parts = [part for part in typing.get_args(annotation) if not isinstance(part, list)]
    lists = [part for part in typing.get_args(annotation) if isinstance(part, list)]
    parts += [part for group in lists for part in group]
    return [leaf for part in parts for leaf in leaves(part)] if parts else [annotation]


def shapeless(annotation):
    """Whether an annotation is missing or mentions an array without its shape."""
    return any(leaf in (inspect.Parameter.empty, typing.Any, jax.Array, np.ndarray) for leaf in leaves(annotation))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_states_the_shapes_and_types_of_its_arrays(name):
    signature = inspect.signature(getattr(ops, name))
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    annotations["return"] = signature.return_annotation
    assert [name for name, annotation in annotations.items() if shapeless(annotation)] == []


@pytest.mark.parametrize("name", RECORDS)
def test_the_fields_of_a_state_have_shapes(name):
    fields = inspect.get_annotations(getattr(ops, name))
    assert fields and [name for name, annotation in fields.items() if shapeless(annotation)] == []


#: The arguments of a mixer that its interface describes.
INTERFACE = {"__call__": ("x", "mask", "key", "return"), "extend": ("x",), "step": ("x_t",), "eigenvalues": ("x",)}


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_annotates_what_the_interface_gives_it_like_the_interface(name):
    kind = registry.subclass("mixers", name, Mixer)
    for method, arguments in INTERFACE.items():
        ours = inspect.get_annotations(getattr(kind, method))
        expected = inspect.get_annotations(getattr(Mixer, method))
        for argument in arguments:
            assert str(ours[argument]) == str(expected[argument]), f"{method}: {argument}"
            assert any(issubclass(leaf, AbstractArray) for leaf in leaves(ours[argument]))


CHECKED = """
from jaxtyping import install_import_hook

# An int is a float, as for type checkers.
checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
packages = ["ssm_bench.ops", "ssm_bench.network", "ssm_bench.mixers", "ssm_bench.scaffolds"]
with install_import_hook(packages, checker):
    from tests.project import test_annotations

    test_annotations.call_everything()
"""


def test_calls_under_a_runtime_checker_are_as_annotated():
    found = subprocess.run([sys.executable, "-c", CHECKED], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


class Arrays:
    """Arrays of a precision."""

    def __init__(self, dtype):
        self.dtype = jnp.dtype(dtype)

    def real(self, *shape):
        return jnp.ones(shape, self.dtype)

    def imag(self, *shape):
        return jnp.ones(shape, jnp.result_type(self.dtype, jnp.complex64))


def operation_calls(a):
    """Calls of every operation, with and without what is optional; sizes differ, so that none passes for another."""
    lengths, mask, key = jnp.ones(2, jnp.int32), jnp.ones((2, 7), bool), jax.random.key(0)
    heads = partial(a.real, 2, 7, 4)
    q, v = heads(6), heads(5)
    same = (q, q, q)
    u, state = a.real(2, 7, 3), a.real(2, 4, 6, 5)
    modes, rank, channels, dt = a.imag(3, 8), a.imag(1, 3, 8), a.imag(2, 3, 8), a.real(3)
    square, coefficients = a.real(8, 8), a.real(2, 7, 8)
    system = partial(ops.dplr_system, modes, rank, modes, dt)
    return {
        "as_complex": [lambda: ops.as_complex(a.real(3, 2)), lambda: ops.as_complex(a.real(2))],
        "as_pairs": [lambda: ops.as_pairs(modes)],
        "attend": [
            lambda: ops.attend(a.real(2, 5, 3), u, coefficients, 0.0, jnp.ones((1, 1, 7), bool)),
            lambda: ops.attend(a.real(2, 5, 3), u, coefficients, a.real(5, 7), jnp.ones((2, 5, 7), bool)),
        ],
        "attention": [
            lambda: ops.attention(*same, bias=a.real(4, 7, 7)),
            lambda: ops.attention(a.real(2, 3, 4, 6), q, q, bias=a.real(4, 3, 7), lengths=lengths),
            lambda: ops.attention(q, a.real(2, 7, 2, 6), a.real(2, 7, 2, 6), causal=True, window=2, lengths=lengths),
        ],
        "bidirectional_conv": [
            lambda: ops.bidirectional_conv(u, a.real(3, 5), a.real(3, 5)),
            lambda: ops.bidirectional_conv(u, a.real(4, 3, 5), a.real(4, 3, 5)),
        ],
        "block_attention": [lambda: ops.block_attention(*same, block=3, lengths=lengths)],
        "block_sparse_attention": [
            lambda: ops.block_sparse_attention(*same, block=2, random_blocks=1, seed=0, lengths=lengths),
            lambda: ops.block_sparse_attention(*same, block=2, random_blocks=1, seed=0),
        ],
        "causal_conv": [lambda: ops.causal_conv(u, a.real(3, 5)), lambda: ops.causal_conv(u, a.real(4, 3, 5))],
        "causal_linear_attention": [
            lambda: ops.causal_linear_attention(q, q, v),
            lambda: ops.causal_linear_attention(q, q, v, ops.KeySums(state, a.real(2, 4, 6)), chunk=2),
        ],
        "choose_random_blocks": [lambda: ops.choose_random_blocks(lengths, 5, heads=4, number=2, seed=0)],
        "column_attention": [lambda: ops.column_attention(*same, stride=3, lengths=lengths)],
        "complex_normal": [lambda: ops.complex_normal(key, (3, 4))],
        "compute_dtype": [lambda: ops.compute_dtype(a.dtype)],
        "delta_rule": [
            lambda: ops.delta_rule(q, q, v, q, q, -q),
            lambda: ops.delta_rule(q, q, v, q, q, -heads(1), state=state, chunk=2),
        ],
        "dense_kernel": [lambda: ops.dense_kernel(square, a.real(8), a.real(2, 3, 8), dt, 7)],
        "dense_recurrence": [
            lambda: ops.dense_recurrence(square, coefficients),
            lambda: ops.dense_recurrence(square, a.imag(2, 7, 8), h0=a.real(2, 8), reverse=True),
        ],
        "diagonal_kernel": [
            partial(ops.diagonal_kernel, modes, modes, channels, dt, 7, discretization=rule)
            for rule in ("zoh", "bilinear", "dss")
        ],
        "diagonal_ssm": [
            lambda: ops.diagonal_ssm(u, a.imag(8), a.imag(8, 3), a.imag(3, 8)),
            lambda: ops.diagonal_ssm(u, a.imag(8), a.imag(8, 3), a.imag(2, 3, 8)),
        ],
        "diagonal_ssm_extend": [
            lambda: ops.diagonal_ssm_extend(u, a.imag(2, 8), a.imag(8), a.imag(8, 3), a.imag(3, 8))
        ],
        "diagonal_ssm_step": [
            lambda: ops.diagonal_ssm_step(a.real(2, 3), a.imag(2, 8), a.imag(8), a.imag(8, 3), a.imag(3, 8))
        ],
        "discretization_rule": [lambda: ops.discretization_rule("zoh")],
        "discretize_bilinear": [lambda: ops.discretize_bilinear(modes, dt[:, None])],
        "discretize_dense": [lambda: ops.discretize_dense(square, a.real(8), dt)],
        "discretize_zoh": [
            lambda: ops.discretize_zoh(modes, dt[:, None]),
            lambda: ops.discretize_zoh(a.imag(8), dt[:, None]),
        ],
        "dplr_kernel": [
            partial(ops.dplr_kernel, modes, rank, modes, channels, dt, 7, truncated=truncated)
            for truncated in (False, True)
        ],
        "dplr_step": [lambda: ops.dplr_step(system(), a.real(2, 3), a.imag(2, 3, 8))],
        "dplr_system": [system],
        "elu_features": [lambda: ops.elu_features(q)],
        "fourier_mixing": [lambda: ops.fourier_mixing(u), lambda: ops.fourier_mixing(u, lengths)],
        "gated_delta_rule": [
            lambda: ops.gated_delta_rule(q, q, v, heads(), -heads()),
            lambda: ops.gated_delta_rule(q, q, v, heads(), -heads(), state=state, chunk=2),
        ],
        "gated_linear_attention": [
            lambda: ops.gated_linear_attention(q, q, v, -q),
            lambda: ops.gated_linear_attention(q, q, v, -heads(1), state=state, chunk=2),
        ],
        "gru": [lambda: ops.gru(a.real(2, 7, 15), a.real(5, 15), a.real(5), a.real(2, 5))],
        **{
            name: [partial(getattr(ops, name), 6)]
            for name in OPERATIONS
            if name.startswith(("hippo_", "s4d_")) and name != "hippo_dplr"
        },
        "hippo_dplr": [partial(ops.hippo_dplr, name, 6) for name in ("legs", "legt", "fout")],
        "linear_attention": [
            lambda: ops.linear_attention(q, q, v),
            lambda: ops.linear_attention(q, q, v, mask=mask),
        ],
        "linear_recurrence": [
            lambda: ops.linear_recurrence(a.real(3), u),
            lambda: ops.linear_recurrence(u, u, h0=a.real(2, 3), backend="associative"),
            lambda: ops.linear_recurrence(a.real(1, 7, 1), u, h0=a.real(1, 3), reverse=True),
            lambda: ops.linear_recurrence(None, a.imag(2, 7, 3, 8), log_a=modes, h0=a.real(2, 3, 1)),
            lambda: ops.linear_recurrence(None, a.real(2, 7, 3, 8), log_a=a.imag(1, 8), backend="associative"),
            lambda: ops.linear_recurrence(None, a.real(2, 7), log_a=a.real()),
        ],
        "local_attention": [
            partial(ops.local_attention, *same, window=3, causal=causal, lengths=lengths) for causal in (False, True)
        ],
        "log_input_gain": [lambda: ops.log_input_gain(dt)],
        "log_uniform_step": [lambda: ops.log_uniform_step(key, (3,), 0.1, 1)],
        "lsh_attention": [
            lambda: ops.lsh_attention(q, q, chunk=2, buckets=4, rounds=3, seed=0),
            lambda: ops.lsh_attention(q, q, chunk=2, buckets=4, rounds=3, seed=0, lengths=lengths),
        ],
        "lsh_buckets": [lambda: ops.lsh_buckets(q, buckets=4, rounds=3, seed=0)],
        "lstm": [lambda: ops.lstm(a.real(2, 7, 20), a.real(5, 20), a.real(2, 5), a.real(2, 5))],
        "mlstm": [
            lambda: ops.mlstm(q, q, v, heads(), heads()),
            lambda: ops.mlstm(q, q, v, heads(), heads(), ops.MatrixMemory(a.real(2, 4, 6, 6), a.real(2, 4)), chunk=2),
        ],
        "nystrom_attention": [
            lambda: ops.nystrom_attention(*same, landmarks=3),
            lambda: ops.nystrom_attention(*same, landmarks=9, lengths=lengths),
        ],
        "orthogonal_gaussian": [lambda: ops.orthogonal_gaussian(jax.random.PRNGKey(0), 5, 3)],
        "relative_attention": [
            lambda: ops.relative_attention(u, u, coefficients),
            lambda: ops.relative_attention(
                u, u, coefficients, a.real(13), activation="laplace", causal=True, chunk=3, lengths=lengths
            ),
        ],
        "relu_features": [lambda: ops.relu_features(q), lambda: ops.relu_features(q, a.real(9, 6))],
        "restore_output": [lambda: ops.restore_output(modes, rank, channels, dt, 7)],
        "rg_lru": [
            lambda: ops.rg_lru(u, u, u, dt),
            lambda: ops.rg_lru(u, u, u, dt, c=8, h0=a.real(2, 3), fresh=jnp.ones(2, bool), return_last_state=True),
        ],
        "ring": [lambda: ops.ring(key, 5, 0, 1, 3)],
        "rotary": [
            lambda: ops.rotary(heads(8), jnp.arange(7)),
            lambda: ops.rotary(q, a.real(2, 7), turned=4),
        ],
        "rotary_bias": [lambda: ops.rotary_bias(a.real(6), a.real(6), 5)],
        "selective_scan": [
            lambda: ops.selective_scan(u, u, -a.real(3, 8), coefficients, coefficients),
            lambda: ops.selective_scan(
                u,
                u,
                -a.imag(3, 8),
                a.real(2, 7, 1, 8),
                a.imag(2, 7, 1, 8),
                dt,
                z=u,
                delta_bias=dt,
                B_bias=a.real(3, 8),
                delta_softplus=True,
                h0=a.imag(2, 3, 8),
                return_last_state=True,
            ),
        ],
        "sinkhorn": [lambda: ops.sinkhorn(a.real(2, 4, 3, 3), lengths, 2)],
        "sinkhorn_attention": [
            lambda: ops.sinkhorn_attention(*same, a.real(2, 4, 3, 3), block=3, iterations=2),
            lambda: ops.sinkhorn_attention(*same, a.real(2, 4, 3, 3), block=3, iterations=2, lengths=lengths),
        ],
        "softmax_key_features": [
            lambda: ops.softmax_key_features(q, a.real(9, 6), causal=True),
            lambda: ops.softmax_key_features(q, a.real(9, 6), causal=False, mask=mask),
        ],
        "softmax_query_features": [lambda: ops.softmax_query_features(q, a.real(9, 6))],
        "softmax_recurrence": [lambda: ops.softmax_recurrence(modes, dt[:, None], 7)],
        "softplus_step": [lambda: ops.softplus_step(key, (3,), 0.1, 1)],
        "sparse_attention": [
            partial(ops.sparse_attention, *same, pattern=pattern, block=3, first=1, lengths=lengths)
            for pattern in ops.SPARSE_PATTERNS
        ],
        "ssd": [
            lambda: ops.ssd(q, heads(), -a.real(4), coefficients, coefficients),
            lambda: ops.ssd(
                q,
                heads(),
                -a.real(4),
                coefficients,
                coefficients,
                a.real(4),
                chunk=2,
                h0=a.real(2, 4, 6, 8),
                return_last_state=True,
            ),
        ],
        "sum_of_powers": [
            lambda: ops.sum_of_powers(a.real(2, 3, 8), a.real(3, 8), 7),
            lambda: ops.sum_of_powers(channels, modes, 7),
        ],
        "timestep_norm": [
            lambda: ops.timestep_norm(a.real(2, 7, 6), ops.Moments(a.real(2), a.real(2, 3), a.real(2, 3)))
        ],
        "truncate_output": [lambda: ops.truncate_output(modes, rank, channels, dt, 7)],
        "unit_length": [lambda: ops.unit_length(q)],
        "use_backend": [lambda: ops.use_backend("auto").__enter__()],
        "window_attention": [lambda: ops.window_attention(*same, window=2, first=1, lengths=lengths)],
        "with_global_rows": [lambda: ops.with_global_rows(q, q[:, :2], q, q, lengths=lengths)],
    }


def test_every_operation_is_called():
    with jax.ensure_compile_time_eval():
        assert set(operation_calls(Arrays(jnp.float32))) == set(OPERATIONS)


#: Mixers of each kind: their classes, and those that they derive from, hold most annotations of the interface.
OF_EACH_KIND = ("attention", "gla", "linear_attention", "lru", "mega", "s4d", "sinkhorn")


def model_calls(a):
    """Calls of mixers, a scaffold and a classifier: full sequences with and without a mask, then chunks and steps."""
    x, mask, key = a.real(2, 5, WIDTH), jnp.ones((2, 5), bool), jax.random.key(0)

    def part(make):
        made = make()
        made(x, None)
        made(x, mask, key=key)
        if isinstance(made, Scaffold) or made.causal:
            _, state = made.extend(x, made.initial_state(2))
        if isinstance(made, Mixer) and made.causal:
            made.step(x[:, 0], state)

    def block(i=0, rngs=None, *, scaffold="mlp"):
        return make_block(scaffold, "lru", both=False, prenorm=True)

    def classifier():
        rngs = nnx.Rngs(0)
        tokens, lengths = jnp.ones((2, 1, 5), jnp.uint8), jnp.ones((2, 1), jnp.int32)
        sizes = {"layers": 1, "d_model": WIDTH, "classes": 3, "max_length": 5}
        model = Classifier(encoder=Embedding(9, WIDTH, rngs=rngs), block=block, positions="learned", **sizes, rngs=rngs)
        model(tokens, lengths, train=True, key=key)
        model.extend(tokens[:, 0], model.initial_state(2))
        Numbers(1, WIDTH, mean=0.0, std=1.0, rngs=rngs)(tokens[:, 0])
        Denoiser(model, 9, "masked", rngs=rngs)(tokens[:, 0], None, mask)

    def refused():
        """The checker is there: these arrays have another type or shape than the annotations say."""
        with pytest.raises(TypeCheckError):
            ops.elu_features(jnp.ones(3, int))
        with pytest.raises(TypeCheckError):
            make_mixer("lru", bidirectional=False)(x[0])

    mixers = {name: partial(make_mixer, name, bidirectional=False) for name in OF_EACH_KIND}
    parts = {**mixers, "megalodon": partial(block, scaffold="megalodon")}
    calls = {name: [partial(part, make)] for name, make in parts.items()}
    return calls | {"classifier": [classifier], "arrays that do not fit": [refused]}


def call_everything():
    """Traces all calls: the checker sees shapes and types, and nothing is compiled."""

    def trace(dtype):
        for calls in (operation_calls, model_calls):
            for several in calls(Arrays(dtype)).values():
                for call in several:
                    call()

    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            jax.eval_shape(partial(trace, dtype))

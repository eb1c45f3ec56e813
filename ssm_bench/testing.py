"""The contract of a mixer as checks that any test can call: `check_mixer(MyMixer)`.

Our own mixers are tested by the same functions. Each raises `AssertionError` with a sentence about the property that
does not hold.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.network.build import NOT_OPTIONS, options_of, roles
from ssm_bench.network.layers import make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import ROLES
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.glu import GLU

# float32 sums over a few dozen positions, in another order when padded or run step by step.
TOLERANCE = 2e-5
TOLERANCE_FLOAT64 = 1e-10

# Numbers in bfloat16 are rounded by up to 2^-8 of their size; a mixer rounds a few times on the way.
HALF_PRECISION = 0.02

BATCH, LENGTH, WIDTH = 3, 23, 8

#: The worst values in padding: NaN, infinities, and large numbers.
WORST = np.resize([np.nan, np.inf, -np.inf, 0.0], (9, 1))

#: What the backbone passes to a mixer whose constructor takes these names.
_GIVEN = {"max_length": LENGTH + len(WORST), "context": 2, "depth": 0.5}


def check_mixer(kind: type[Mixer], *, width: int = WIDTH, tolerance: float = TOLERANCE_FLOAT64, **options: Any) -> None:
    """Checks that a class keeps the contract of `Mixer`, so that it can be benchmarked.

    Options have defaults. The output has the shape and the type of the input. Padding does not affect true positions
    in a scaffold. The output of a causal mixer does not depend on later inputs; steps and chunks give the same outputs
    as one pass, with a state of the stated constant size. Gradients are finite and reach every parameter. A mixer with
    the option `bidirectional` is checked with both values.

    Args:
        kind: the class.
        width: of the inputs.
        tolerance: of the comparison of steps with one pass in double precision; larger for a mixer that computes a part
            in float32.
        **options: arguments of its constructor; small sizes make the checks fast.

    Raises:
        AssertionError: a sentence about the first property that does not hold.
    """
    check_options(kind)
    construct = cast(Callable[..., Mixer], kind)
    both = (False, True) if "bidirectional" in options_of(kind) and "bidirectional" not in options else (None,)
    for bidirectional in both:
        chosen = options | ({} if bidirectional is None else {"bidirectional": bidirectional})

        def make(width: int = width, chosen: dict[str, Any] = chosen) -> Mixer:
            asked = inspect.signature(kind.__init__).parameters
            return construct(width, **chosen, **{k: v for k, v in _GIVEN.items() if k in asked}, rngs=nnx.Rngs(0))

        check_causality(make(), width)
        check_padding(make, width)
        check_steps(make, width, tolerance=tolerance)
        check_gradients(make(), width)
        check_half_precision(make(), width)


def check_options(kind: type[Mixer]) -> None:
    """Checks that a class has traits, and that every option has a default of a type that a command line accepts."""
    traits = getattr(kind, "traits", None)
    assert traits is not None, f"{kind.__name__} needs `traits`, see ssm_bench.network.mixer.Traits"
    kinds = ("LTI", "LTV", "nonlinear")
    assert traits.parametrization in kinds, f"traits.parametrization must be one of {kinds}"
    assert traits.structure in ("SISO", "MIMO"), "traits.structure must be SISO or MIMO"
    taken = {*inspect.signature(kind.__init__).parameters}
    assert {"d_model", "rngs"} <= taken, f"the constructor of {kind.__name__} must take d_model and rngs"
    for option, default in options_of(kind).items():
        assert isinstance(default, bool | int | float | str), (
            f"option {option} of {kind.__name__} needs a default that is a bool, int, float or str; names without one "
            f"are {', '.join(sorted(NOT_OPTIONS - {'self', 'slots'}))}"
        )


def inputs(length: int = LENGTH, width: int = WIDTH, seed: int = 0, batch: int = BATCH) -> jax.Array:
    """Normal inputs (b, l, h)."""
    return jax.random.normal(jax.random.key(seed), (batch, length, width))


def check_padding(make: Callable[[int], Mixer], width: int = WIDTH) -> None:
    """Checks that values at padded positions do not affect true positions, in the scaffold "glu"."""
    slots = Slots(
        d_model=width,
        mixer=lambda width, rngs: make(width),
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=0.0,
        tie_dropout=True,
        layers=1,
    )
    graph, state = nnx.split(GLU(slots, rngs=nnx.Rngs(0)))

    @jax.jit
    def run(state: Any, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        return nnx.merge(graph, state)(x, mask)

    x = inputs(width=width)
    padded = jnp.concatenate([x, 100 * inputs(len(WORST), width, seed=1) + WORST], 1)
    mask = jnp.broadcast_to(jnp.arange(padded.shape[1]) < LENGTH, padded.shape[:2])
    _close(run(state, padded, mask)[:, :LENGTH], run(state, x, None), "padding reaches a true position")


def check_causality(mixer: Mixer, width: int = WIDTH) -> None:
    """Checks shape and type of the output, and that `causal` is true exactly if no output depends on later inputs."""
    probe, x = LENGTH // 2, inputs(width=width)
    y = jax.eval_shape(mixer, x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype), f"the output is {y.dtype} {y.shape}, the input {x.dtype} {x.shape}"
    graph, state = nnx.split(mixer)

    @jax.jit
    def sensitivity(state: Any, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: nnx.merge(graph, state)(x)[:, probe].sum())(x)

    influence = sensitivity(state, x)
    # A convolution by FFT leaks rounding; nothing else may.
    later = np.abs(influence[:, probe + 1 :]).max() / np.abs(influence).max()
    if mixer.causal:
        assert later < TOLERANCE, "causal is True, but an output depends on a later input"
    else:
        assert later > TOLERANCE, "causal is False, but no output depends on a later input"


def check_steps(make: Callable[[], Mixer], width: int = WIDTH, *, tolerance: float = TOLERANCE_FLOAT64) -> None:
    """Checks in double precision that steps and chunks give the same outputs as one pass, and the size of the state.

    A mixer that is not causal must raise `TypeError` instead.
    """
    with jax.enable_x64(True):
        mixer = make()
        if not mixer.causal:
            for name, call in (
                ("initial_state", lambda: mixer.initial_state(1)),
                ("step", lambda: mixer.step(jnp.zeros((1, width)), None)),
            ):
                try:
                    call()
                except TypeError:
                    continue
                raise AssertionError(f"causal is False: {name} must raise TypeError")
            return
        nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), nnx.state(mixer, nnx.Param)))
        graph, parameters = nnx.split(mixer)

        @jax.jit
        def run(parameters: Any, x: jax.Array, state: Any) -> tuple[jax.Array, jax.Array, Any]:
            mixer = nnx.merge(graph, parameters)
            whole, outputs = mixer(x), []
            for t in range(2):
                y_t, state = mixer.step(x[:, t], state)
                outputs.append(y_t[:, None])
            y, state = mixer.extend(x[:, 2:], state)
            return whole, jnp.concatenate([*outputs, y], 1), state

        x = jnp.asarray(inputs(6, width, batch=2), jnp.float64)
        before = mixer.initial_state(2)
        whole, in_parts, after = run(parameters, x, before)
    assert whole.dtype == jnp.float64, f"inputs of float64 give {whole.dtype}"
    _close(in_parts, whole, "steps and chunks give something else than one pass", tolerance)
    shapes = [jax.tree.map(jnp.shape, state) for state in (before, after)]
    assert shapes[0] == shapes[1], f"the state changes its shapes from {shapes[0]} to {shapes[1]}"
    if mixer.state_size is not None:
        size = real_numbers(after)
        assert size == mixer.state_size, f"state_size is {mixer.state_size}, but the state holds {size} real numbers"


def real_numbers(state: Any) -> int:
    """Real numbers in the state of each sequence; flags and counters are not counted."""
    floats = [s for s in jax.tree.leaves(state) if jnp.issubdtype(s.dtype, jnp.inexact)]
    return sum(int(np.prod(s.shape[1:], dtype=int)) * (2 if jnp.iscomplexobj(s) else 1) for s in floats)


def check_gradients(mixer: Mixer, width: int = WIDTH) -> None:
    """Checks that gradients are finite and reach every parameter, and that every parameter has a known role."""
    graph, parameters, rest = nnx.split(mixer, nnx.Param, ...)
    x = inputs(width=width)
    weights = inputs(width=width, seed=2)

    @jax.jit
    def gradient(parameters: Any, rest: Any) -> Any:
        return jax.grad(lambda p: (jnp.sin(nnx.merge(graph, p, rest)(x)) * weights).sum())(parameters)

    for path, values in jax.tree_util.tree_leaves_with_path(gradient(parameters, rest)):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(values).all(), f"the gradient of {name} is not finite"
        assert np.abs(values).max() > 0, f"no gradient reaches {name}"
    unknown = set(jax.tree.leaves(roles(mixer))) - set(ROLES)
    assert not unknown, f"parameters have unknown roles: {', '.join(sorted(unknown))}"


def check_half_precision(mixer: Mixer, width: int = WIDTH) -> None:
    """Checks that inputs in bfloat16 give outputs in bfloat16, with an error of the order of their rounding."""
    x = inputs(width=width)
    graph, state = nnx.split(mixer)

    @jax.jit
    def run(state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixer = nnx.merge(graph, state)
        return mixer(x), mixer(x.astype(jnp.bfloat16))

    exact, rounded = run(state, x)
    assert rounded.dtype == jnp.bfloat16, f"inputs in bfloat16 give {rounded.dtype}"
    error = jnp.linalg.norm(rounded.astype(jnp.float32) - exact) / jnp.linalg.norm(exact)
    assert error < HALF_PRECISION, f"bfloat16 changes the output by {float(error):.3f} of its size"


def _close(actual: Any, desired: Any, what: str, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance, err_msg=what)

"""Truncated backpropagation through time: the loss is that of whole sequences, the gradient that of a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ssm_bench import registry
from ssm_bench.config import experiment_names
from ssm_bench.network.build import options_of, split
from ssm_bench.network.mixer import Mixer, WholeMixer
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training import segments
from ssm_bench.training.run import make_model

from .test_loop import SIZES, config_of, run_in

#: Sums of float64 in another order, relative to the largest number.
ROUNDING = 1e-9

BATCH, LENGTH, SEGMENT = 3, 16, 5

LAYER_NORM = ("--config.model.norm=layer",)
CAUSAL = (*LAYER_NORM, "--config.mixer.bidirectional=false")


def model_of(*overrides, model="lru", task="text", length=LENGTH):
    """A small model, taken apart; in float64 where that is on."""
    config, dataset = config_of(f"--config.task.max_length={length}", *overrides, model=model, task=task)
    network = make_model(config, dataset)
    network.activations = jax.dtypes.canonicalize_dtype(float)
    made = split(network)
    return made._replace(params=jax.tree.map(lambda a: a.astype(float), made.params))


def batch_of(documents=1, length=LENGTH):
    """Inputs, true lengths on both sides of borders between segments, and labels."""
    random = np.random.default_rng(0)
    inputs = random.integers(1, 20, (BATCH, documents, length), np.uint8)
    lengths = np.array([[2, length], [SEGMENT, length - 1], [SEGMENT + 1, 1]])[:, :documents]
    return inputs, lengths, np.arange(BATCH) % 2


def losses_and_gradients(logits_of, params, labels):
    """Loss and logits, and the gradients of all parameters."""

    def loss(params):
        logits = logits_of(params)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


def by_segments(made, inputs, lengths, segment=SEGMENT, key=None):
    return lambda params: segments.logits(made.graph, params, made.stats, inputs, lengths, segment=segment, key=key)


def whole(made, inputs, lengths, key=None):
    return lambda params: nnx.merge(made.graph, params, made.stats)(inputs, lengths, train=True, key=key)


def by_positions(made, inputs, lengths):
    """The oracle: a loop over positions that autodiff follows, with the states cut at every border."""

    def logits(params):
        model = nnx.merge(made.graph, params, made.stats)
        tokens, ends = (jnp.concatenate([*jnp.moveaxis(each, 1, 0)]) for each in (inputs, lengths))

        def step(states, t):
            states = jax.tree.map(lambda s: jnp.where(t % SEGMENT == 0, jax.lax.stop_gradient(s), s), states)
            x, states = model.extend_features(jax.lax.dynamic_slice_in_dim(tokens, t, 1, 1), states, t)
            return states, x[:, 0]

        states = [block.initial_state(len(tokens)) for block in model.blocks]
        _, x = jax.lax.scan(step, states, jnp.arange(tokens.shape[1]))
        if model.pooling == "last":
            return model.classify(x[ends - 1, jnp.arange(len(ends))])
        true = jnp.arange(len(x))[:, None] < ends
        return model.classify(x.mean(0, where=true[..., None]))

    return logits


def close(actual, desired, tolerance=ROUNDING):
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(desired))
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(desired), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * largest)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("model", "task", "overrides"),
    [
        ("lru", "retrieval", (*CAUSAL, "--config.model.pooling=last", "--config.model.positions=learned")),
        ("mamba2", "text", ("--config.model.positions=sinusoidal",)),
    ],
)
def test_the_loss_is_that_of_whole_sequences_and_the_gradient_that_of_cut_states(model, task, overrides):
    made = model_of(*overrides, model=model, task=task)
    inputs, lengths, labels = batch_of(2 if task == "retrieval" else 1)
    ours = losses_and_gradients(by_segments(made, inputs, lengths), made.params, labels)
    values, uncut = losses_and_gradients(whole(made, inputs, lengths), made.params, labels)
    close(ours[0], values)
    close(ours, losses_and_gradients(by_positions(made, inputs, lengths), made.params, labels))
    # The cut matters.
    with pytest.raises(AssertionError):
        close(ours[1], uncut, 1e-3)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_of_one_segment_is_that_of_the_sequence(tied):
    """With dropout, if all positions share its masks."""
    made = model_of(*CAUSAL, f"--config.model.dropout={0.5 * tied}")
    inputs, lengths, labels = batch_of()
    key = jax.random.key(1) if tied else None
    for ends in (None, lengths) if not tied else (lengths,):
        ours = losses_and_gradients(by_segments(made, inputs, ends, LENGTH, key), made.params, labels)
        close(ours, losses_and_gradients(whole(made, inputs, ends, key), made.params, labels))


def test_masks_of_all_positions_are_shared_by_the_segments_and_others_are_not():
    for tied in (True, False):
        made = model_of(*CAUSAL, "--config.model.dropout=0.5", f"--config.model.tie_dropout={tied}".lower())
        model = nnx.merge(made.graph, made.params, made.stats)
        tokens, states = jnp.ones((BATCH, 1), jnp.uint8), [block.initial_state(BATCH) for block in model.blocks]
        key = jax.random.key(0)
        first, second = (model.extend_features(tokens, states, begin, key=key)[0] for begin in (0, SEGMENT))
        assert np.array_equal(first, second) == tied


def test_every_causal_mixer_is_read_by_segments():
    """Tracing decides all types, and that states keep theirs; nothing is computed."""
    _, dataset = config_of()
    inputs, lengths, _ = batch_of()
    by_mixer = {resolve(name, "text", preset="quick").model.mixer: name for name in experiment_names()}
    read = []
    for mixer, name in by_mixer.items():
        kind = registry.subclass("mixers", mixer, Mixer)
        if issubclass(kind, WholeMixer):
            continue
        overrides = [*SIZES, *LAYER_NORM, f"--config.train.segment={SEGMENT}", "--config.model.precision=bf16"]
        options = options_of(kind)
        overrides += ["--config.mixer.bidirectional=false"] if "bidirectional" in options else []
        overrides += [f"--config.mixer.{option}=0.0" for option in options if option.endswith("dropout")]
        config = resolve(name, "text", preset="quick", overrides=overrides)

        def logits(config=config):
            network = make_model(config, dataset)
            segments.check_model(network, config)
            made = split(network)
            return by_segments(made, inputs, lengths)(made.params)

        assert jax.eval_shape(logits).shape == (BATCH, 2)
        read.append(mixer)
    assert {"s5", "lru", "ssd", "s4d", "attention", "mega", "lstm"} <= set(read)


def test_memory_of_a_step_does_not_grow_with_the_length():
    needed = []
    for length in (256, 1024):
        made = model_of(*CAUSAL, length=length)
        inputs, lengths, labels = batch_of(length=length)

        def loss(params, inputs, made=made, lengths=lengths, labels=labels):
            logits = by_segments(made, inputs, lengths, 64)(params)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        program = jax.jit(jax.grad(loss)).lower(made.params, inputs).compile()
        memory = program.memory_analysis()
        assert memory is not None
        needed.append(memory.temp_size_in_bytes)
    # The tokens are copied once, a byte each.
    assert needed[1] - needed[0] <= 2 * BATCH * (1024 - 256)


def test_a_run_by_segments_is_recorded_and_has_another_name(tmp_path):
    overrides = (*CAUSAL, "--config.train.segment=48", "--config.train.accumulate=2")
    config, dataset = config_of(*overrides, model="lru")
    record = run_in(tmp_path, config, dataset)
    assert record.status == "ok" and record.config["train"]["segment"] == 48
    plain = run_in(tmp_path, *config_of(*CAUSAL, "--config.train.accumulate=2", model="lru"))
    assert record.config_hash != plain.config_hash
    # The first losses are those of equal parameters.
    assert record.curve[0].train_loss == pytest.approx(plain.curve[0].train_loss, rel=0.05)


@pytest.mark.parametrize(
    ("model", "overrides", "sentence"),
    [
        ("s5", (), "--config.model.norm must be layer or rms or scale where train.segment is not 0; got batch"),
        ("s5", LAYER_NORM, "--config.mixer.bidirectional must be false where train.segment is not 0; got true"),
        ("lru", (*CAUSAL, "--config.model.pooling=cls"), "--config.model.pooling must be mean or last where"),
        ("lru", (*CAUSAL, "--config.model.window=8"), "--config.model.window must be 0 where"),
        ("mega", (*CAUSAL, "--config.mixer.dropout=0.1"), "--config.mixer.dropout must be 0 where"),
        ("fnet", LAYER_NORM, "--config.train.segment needs a causal mixer, which fourier is not: it must be 0; got 8"),
        (
            "transformer",
            (*CAUSAL, "--config.mixer.max_steps=32"),
            "--config.mixer.max_steps must be at least the length 64 where train.segment is not 0; got 32",
        ),
        ("lru", (*CAUSAL, "--config.train.segment=-1"), "--config.train.segment must be at least 0; got -1"),
    ],
)
def test_what_has_no_segments_is_one_sentence(command, model, overrides, sentence):
    code, _, errors = command(
        *("train", "--model", model, "--task", "text", "--preset", "quick", "--data", "synthetic"),
        *("--config.train.segment=8", *overrides),
    )
    assert code == 2
    assert errors.startswith(f"error: {sentence}") and errors.count("\n") == 1

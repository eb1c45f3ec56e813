"""What a token costs in a stream, against its position: latency, state and memory of a causal model."""

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.bench.recording import Findings
from ssm_bench.data import Dataset
from ssm_bench.errors import ArgumentError, SettingError, UserError
from ssm_bench.network.build import Split
from ssm_bench.network.mixer import Mixer, WholeMixer
from ssm_bench.training import provenance
from ssm_bench.training.run import make_program
from ssm_bench.training.step import count_parameters
from ssm_bench.training.stop import Stop

#: A stream is read in chunks of at most this many tokens.
CHUNK = 4096

#: Chunks below this would take hours for a million tokens.
SHORTEST_CHUNK = 64

#: Tokens in the compiled loop that is timed, how often it is, and how often one token by itself; medians count.
SCAN_STEPS, REPEATS, CALLS = 32, 5, 50

#: Seconds after which no timing is repeated, and loops have fewer tokens.
SECONDS = 5.0

#: Part of the free memory that a state and the step after it may take.
FREE_SHARE = 0.8


def chunk_of(lengths: Sequence[int]) -> int:
    """The largest chunk, up to CHUNK, that divides every length.

    Raises:
        ArgumentError: they have no common divisor of a useful size.
    """
    common = math.gcd(*lengths)
    chunk = max(d for d in range(1, min(common, CHUNK) + 1) if common % d == 0)
    if chunk < SHORTEST_CHUNK:
        raise ArgumentError(
            "lengths", f"must be multiples of one number from {SHORTEST_CHUNK} on; the largest is {common}"
        )
    return chunk


def make_causal(config: ConfigDict) -> None:
    """Changes a published recipe to its causal version without an end, in place."""
    # A class token has no place in a stream; a table of a million positions is no part of a step.
    config.model.update(pooling="mean", positions="none")
    if "bidirectional" in config.mixer:
        config.mixer.bidirectional = False
    # A stream has no greatest length, and every call would restore C from the parameters that stand for it.
    if "truncate" in config.mixer:
        config.mixer.truncate = False


def check_causal(config: ConfigDict) -> None:
    """Checks that a model can read a stream forward, position by position, without an end.

    Raises:
        UserError: it cannot.
    """
    if issubclass(registry.subclass("mixers", config.model.mixer, Mixer), WholeMixer):
        raise UserError(f"a stream is read forward, which the mixer {config.model.mixer} cannot")
    if config.mixer.get("bidirectional"):
        raise SettingError("mixer.bidirectional", "must be false; got true", "a stream is read forward: ")
    for name, allowed in (("pooling", ("mean", "last")), ("positions", ("none",)), ("context", (0,))):
        if config.model[name] not in allowed:
            choices = " or ".join(map(str, allowed))
            raise SettingError(f"model.{name}", f"must be {choices}; got {config.model[name]}", "in a stream ")


def maker(config: ConfigDict, dataset: Dataset) -> Callable[[int], Split]:
    """What makes the model of a resolved configuration with room for a stream of a given length."""

    def make(length: int) -> Split:
        if "max_steps" in config.mixer:
            config.mixer.max_steps = length
        return make_program(config, dataset).model

    return make


def measure_stream(
    make: Callable[[int], Split],
    lengths: Sequence[int],
    stop: Stop,
    tell: Callable[[str], None],
    *,
    first: bool = True,
) -> Findings:
    """Times one token after `lengths` tokens of a single stream.

    A model with a state of constant size reads the whole stream, in chunks, and is timed on the way. One whose cache
    grows gets an empty cache of that length instead: what stands in it changes no time, and filling it would take
    the square of the length.

    Args:
        make: a causal model with room for a stream of a given length.
        lengths: positions to time at, growing.
        stop: deadline and signals.
        tell: called with the progress, in words.
        first: whether no other model ran in this process before; otherwise its peak of memory is left out.

    Returns:
        At each length: latency_ms (per token, in one compiled loop), latency_ms_one_per_call (the host waits for every
        token), state_bytes, temporary_bytes, and peak_bytes where the device reports it. Also parameters, and
        chunk_tokens_per_second of reading the stream, without compilation and the timed tokens. Notes name what is
        missing and why.

    Raises:
        UserError: as `chunk_of`.
    """
    chunk = chunk_of(lengths)
    findings = Findings()
    constant = make(lengths[0]).state_size is not None
    model = make(lengths[-1] if constant else lengths[0])
    read: Any = None
    state = None
    findings.add({"parameters": count_parameters(model.params)})
    if not constant:
        findings.notes.append("the cache is as long as the stream and empty: its content changes no time")
    reading, position = 0.0, 0
    for length in lengths:
        if not constant:
            model = make(length)
        size, one = state_bytes(model), _compiled(_steps, model, 1)
        if needed_bytes(one, size) > FREE_SHARE * free_bytes():
            findings.notes.append(f"no time at {length}: a state of {size:,} bytes does not fit in memory")
            continue
        findings.add({"state_bytes": size}, shape=(length,))
        if constant:
            if state is None:
                read, state = _compiled(_read, model, chunk), initial_state(model)
                # The first call of a program loads it.
                jax.block_until_ready(read(model.params, model.stats, initial_state(model), _tokens(chunk, 0)))
            while position < length and not stop.reason():
                tokens = jax.block_until_ready(_tokens(chunk, position))
                begun = time.perf_counter()
                _, state = read(model.params, model.stats, state, tokens)
                jax.block_until_ready(state)
                reading += time.perf_counter() - begun
                position += chunk
                tell(f"{position:,} of {lengths[-1]:,} tokens, {position / reading:,.0f} tokens/s")
        if reason := stop.reason():
            findings.notes.append(f"no time from {length} on: {reason}")
            break
        # A cache may fill the memory: none is kept, each program gets its own.
        fresh = partial(jax.tree.map, jnp.copy, state) if constant else partial(initial_state, model)
        found = _time_tokens(model, one, fresh)
        if not first:
            found.pop("peak_bytes", None)
        findings.add(found, shape=(length,))
        tell(f"{length:,} tokens: {found['latency_ms']:.3f} ms a token, state of {size:,} bytes")
    if position:
        findings.add({"chunk_tokens_per_second": round(position / reading, 1)})
    return findings


def initial_state(model: Split) -> Any:
    """The state of one stream before its first token."""
    return jax.jit(lambda p, s: nnx.merge(model.graph, p, s).initial_state(1))(model.params, model.stats)


def state_bytes(model: Split) -> int:
    """Bytes of the state of one stream, without making it."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(_shapes(model)))


def needed_bytes(program: Any, state: int) -> int:
    """Bytes that a compiled program takes at once whose argument and result is a state of that size."""
    memory = program.memory_analysis()
    return state + (memory.temp_size_in_bytes if memory else 0)


def free_bytes() -> float:
    """Bytes of memory that are free on the device; on a CPU, of the machine."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _time_tokens(model: Split, one: Any, fresh: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds a token and bytes, by the program of one token and a loop of them, each from a fresh state."""
    found: dict[str, float] = {}
    program, steps = one, 1
    for name, repeats in (("latency_ms_one_per_call", CALLS), ("latency_ms", REPEATS)):
        running, tokens, times = fresh(), _tokens(steps, 0), []
        end = time.monotonic() + SECONDS
        # The first call warms up.
        while len(times) < 2 or (len(times) <= repeats and time.monotonic() < end):
            begun = time.perf_counter()
            logits, running = program(model.params, model.stats, running, tokens)
            np.asarray(logits)
            times.append((time.perf_counter() - begun) / steps)
        seconds = float(np.median(times[1:]))
        found[name] = round(1000 * seconds, 5)
        if program is one:
            if (memory := program.memory_analysis()) is not None:
                found["temporary_bytes"] = int(memory.temp_size_in_bytes)
            steps = max(2, min(SCAN_STEPS, round(SECONDS / seconds)))
            del running
            program = _compiled(_steps, model, steps)
    if (peak := provenance.peak_memory_bytes()) is not None:
        found["peak_bytes"] = peak
    return found


def _tokens(count: int, begin: int) -> jax.Array:
    """Tokens that every task has: zeros and ones."""
    return (jnp.arange(begin, begin + count) % 2).astype(jnp.uint8)


def _read(model: Any, state: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
    """A chunk at once."""
    return model.extend(tokens[None], state)


def _steps(model: Any, state: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
    """Token by token; the logits after the last one."""

    def step(state: Any, token: jax.Array) -> tuple[Any, jax.Array]:
        logits, state = model.extend(token[None, None], state)
        return state, logits

    state, logits = jax.lax.scan(step, state, tokens)
    return logits[-1], state


def _shapes(model: Split) -> Any:
    """The state of one stream, as shapes and types."""
    return jax.eval_shape(partial(initial_state, model))


def _compiled(run: Callable, model: Split, count: int) -> Any:
    """The program of `run` for that many tokens; it takes over the state's memory."""

    def program(params: Any, stats: Any, state: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
        return run(nnx.merge(model.graph, params, stats), state, tokens)

    tokens = _tokens(count, 0)
    return jax.jit(program, donate_argnums=2).lower(model.params, model.stats, _shapes(model), tokens).compile()

"""Optimizer: Adam with decoupled weight decay, where a parameter's type decides its learning rate and decay."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


def make_schedule(settings: ConfigDict, steps: int) -> optax.Schedule:
    """The global learning rate as a function of the step (0 based).

    Warm-up from 0 over `warmup * steps`, linear or another power of time, then: "cosine" half a cosine to `end_lr`
    (S4, S5, LRU); "linear" to `end_lr`; "constant"; "rsqrt" lr * sqrt(warm-up steps / step) (Vaswani et al. 2017).
    """
    kind = settings.schedule
    warmup = round(settings.warmup * steps)
    peak, rest = settings.lr, max(steps - warmup, 1)
    if kind == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=settings.end_lr / peak if peak else 0.0)
    elif kind == "linear":
        after = optax.linear_schedule(peak, settings.end_lr, rest)
    elif kind == "constant":
        after = optax.constant_schedule(peak)
    else:
        after = lambda count: peak * jnp.sqrt(max(warmup, 1) / jnp.maximum(count + warmup, 1))  # noqa: E731
    if not warmup:
        return after
    # The first update has rate peak / warmup, not zero, so that no step is lost.
    line = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    power = settings.warmup_power
    rise = line if power == 1 else lambda count: peak * (line(count) / peak) ** power
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(settings: ConfigDict, steps: int, role_tree: Any) -> optax.GradientTransformation:
    """AdamW whose rate and decay differ by role (`settings.groups`).

    All groups share one Adam. They differ only by a factor of the learning rate and by whether they have weight decay.
    All rates follow the same schedule in proportion, as in the authors' code.
    """
    groups = settings.groups.to_dict()
    decays = jax.tree.map(lambda role: groups[role].endswith("+decay"), role_tree)
    factors = jax.tree.map(
        lambda role: settings.ssm_lr / settings.lr if groups[role].startswith("ssm") and settings.lr else 1.0, role_tree
    )
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm) if settings.clip_norm else optax.identity(),
        optax.scale_by_adam(settings.b1, settings.b2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay, decays),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, f: u * f, updates, factors)),
        optax.scale_by_learning_rate(make_schedule(settings, steps)),
    )

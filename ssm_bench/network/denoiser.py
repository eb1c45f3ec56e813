"""The model of self-pretraining: the encoder and blocks of a classifier with a head that predicts inputs."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Real

from ssm_bench.errors import UserError
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.layers import Linear
from ssm_bench.network.parameters import Exempt

#: "masked": predict inputs at hidden positions from all others; "causal": predict the next input from those before it.
OBJECTIVES = ("masked", "causal")


class Denoiser(nnx.Module):
    """encoder -> positions -> blocks -> final norm -> a linear head over tokens or gray levels, at every position.

    Inputs at hidden positions are replaced by a learned vector after the encoder, so that token ids and gray levels are
    treated alike and the encoder has the shape of the classifier's.

    Source: Amos, Berant and Gupta 2023, "Never train from scratch" (arXiv 2310.02980).
    """

    def __init__(self, tower: Classifier, values: int, objective: str, *, rngs: nnx.Rngs):
        """Takes over a new classifier, whose head it replaces.

        Args:
            tower: the classifier; it is changed.
            values: number of token ids or gray levels.
            objective: one of OBJECTIVES.
            rngs: random keys.

        Raises:
            UserError: causal pretraining of a model whose outputs depend on later inputs.
        """
        if objective == "causal":
            try:
                for block in tower.blocks:
                    block.initial_state(1)
            except TypeError as error:
                needs = "causal pretraining needs a causal model, such as one with mixer.bidirectional=False"
                raise UserError(f"{needs}: {error}") from error
        tower.head_hidden = None
        tower.head = Linear(tower.d_model, values, rngs=rngs)
        self.tower = tower
        vector = 0.02 * jax.random.normal(rngs.params(), (tower.d_model,))
        self.hidden_input = Exempt(vector) if objective == "masked" else None

    def __call__(
        self,
        inputs: Real[Array, "b l"],
        lengths: Int[Array, " b"] | None,
        hidden: Bool[Array, "b l"] | None,
        *,
        train: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b l values"]:
        """Predicts inputs.

        Args:
            inputs: (b, l) token ids or gray levels.
            lengths: (b,) true lengths, or None where every position is true.
            hidden: (b, l) bool, the hidden positions; None for the causal objective.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.

        Returns:
            Logits (b, l, values): of the input at the position, or, for the causal objective, of the next one.
        """
        replaced = None if hidden is None or self.hidden_input is None else (hidden, self.hidden_input[...])
        x = self.tower.features(inputs, lengths, hidden=replaced, train=train, key=key)
        # Without the class token.
        return self.tower.head(x[:, x.shape[1] - inputs.shape[1] :])

    @property
    def state_size(self) -> int | None:
        """As `Classifier.state_size`."""
        return self.tower.state_size

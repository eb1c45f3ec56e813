"""What attention by features is, for one sequence, as plain float64 loops over positions and heads."""

import numpy as np


def loop(mixer, x, phi, *, causal, epsilon=0.0):
    """Outputs (l, h) of a sequence (l, h); `phi(head, queries)` gives the features (m,) of one head (d,)."""
    maps = (mixer.query, mixer.keys, mixer.values, mixer.out)
    query, keys, values, out = (np.asarray(linear.kernel[...], float) for linear in maps)
    x = np.asarray(x, float)
    y = np.zeros((len(x), query.shape[1]))
    for i in range(len(x)):
        for n in range(mixer.heads):
            head = slice(n * mixer.size, (n + 1) * mixer.size)
            numerator, denominator = np.zeros(mixer.size), epsilon
            for j in range(i + 1 if causal else len(x)):
                weight = phi((x[i] @ query)[head], True) @ phi((x[j] @ keys)[head], False)
                numerator = numerator + weight * (x[j] @ values)[head]
                denominator = denominator + weight
            y[i, head] = numerator / denominator
    return y @ out

"""Distances between what tandem computes and the reference."""

import numpy as np

CONTINUATION = 32  # tokens
# Of the standard deviation of the reference's logits.
LARGEST_F32 = 1e-3
RMS_REDUCED = 3e-2
# Deviations of a token's router scores; closer than this, rounding may choose another expert.
ROUTING_TIE = 0.15


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def distances(ours, reference):
    """(largest, rms) difference of two [tokens, vocabulary] log-softmaxes, in deviations of the
    reference."""
    difference = ours - reference
    deviation = reference.std()
    return np.abs(difference).max() / deviation, np.sqrt((difference**2).mean()) / deviation


def judge(ours, reference, activations):
    """None, or what is wrong. All positions and the whole vocabulary."""
    if ours.shape != reference.shape:
        return f"{activations}: shape {ours.shape} instead of {reference.shape}"
    if not np.isfinite(ours).all():
        return f"{activations}: {int((~np.isfinite(ours)).sum())} values are not finite"
    largest, rms = distances(ours, reference)
    if activations == "f32" and not largest <= LARGEST_F32:
        return f"f32: largest difference {largest:.2e} of the deviation, allowed {LARGEST_F32:g}"
    if not rms <= RMS_REDUCED:
        return f"{activations}: rms difference {rms:.2e} of the deviation, allowed {RMS_REDUCED:g}"
    return None


def judge_greedy(prompt, continuation, count, reference_of):
    """None, or what is wrong with a greedy continuation. `reference_of(ids)` gives the reference's
    log-softmax of all positions.

    By induction the continuation is the reference's own when each token is the reference's most
    likely one after the same text. Where it is not, the two must be a tie: the reference's gap
    between them is no more than twice the tolerance, so either order agrees with it. A tie at more
    than one place is refused, since it would hide a difference.
    """
    if len(continuation) != count:
        return f"greedy: {len(continuation)} tokens instead of {count}"
    reference = reference_of(list(prompt) + list(continuation))
    allowed = 2 * LARGEST_F32 * reference.std()
    ties = 0
    for i, token in enumerate(continuation):
        row = reference[len(prompt) + i - 1]
        gap = row.max() - row[token]
        if gap > allowed:
            return f"greedy: token {i} is {token}, the reference's is {int(row.argmax())}"
        ties += gap > 0
    return f"greedy: {ties} ties in {count} tokens" if ties > 1 else None
